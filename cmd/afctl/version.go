package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X main.version=...) in releases.
var version = ""

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version and how it was built",
		Example: "  afctl version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), buildInfo())
			return err
		},
	}
}

// buildInfo is one line: version, revision, Go and platform.
func buildInfo() string {
	v, revision, modified, platform := version, "", "", ""
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "afctl " + v
	}
	if v == "" {
		v = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = " " + s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+"
			}
		case "GOOS":
			platform = s.Value + platform
		case "GOARCH":
			platform += "/" + s.Value
		}
	}
	return fmt.Sprintf("afctl %s%s%s, %s, %s", v, revision, modified, info.GoVersion, platform)
}
