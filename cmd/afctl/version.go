package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

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
	revision, modified, platform := "", "", ""
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "afctl"
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
	return fmt.Sprintf("afctl %s%s%s, %s, %s", info.Main.Version, revision, modified, info.GoVersion, platform)
}
