package main

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// paths are the values of a config that name files and folders, by their keys; what is in this program, such as the gym, is none.
func (c *Config) paths() map[string]*string {
	r := &c.Rollout
	t := &r.Tools
	paths := map[string]*string{"model": &c.Model, "adapter": &c.Adapter, "tasks.train": &c.Tasks.Train, "tasks.eval": &c.Tasks.Eval,
		"rollout.planner.prompt": &r.Planner.Prompt, "rollout.tools.wikipedia_index": &t.WikipediaIndex, "rollout.tools.pages": &t.Pages,
		"rollout.tools.record": &t.Record, "rollout.tools.replay": &t.Replay}
	for slot, m := range r.modules() {
		paths["rollout."+slot+".prompt"] = &m.Prompt
	}
	maps.DeleteFunc(paths, func(key string, p *string) bool {
		return *p == "" || key == "model" && *p == gymModel || (key == "tasks.train" || key == "tasks.eval") && isGym(*p)
	})
	return paths
}

// makeAbsolute makes all paths absolute, so that a run can be resumed from any folder. One that is no UTF-8 is refused: config.yaml and the
// state of checkpoints could not hold it.
func (c *Config) makeAbsolute() (err error) {
	paths := c.paths()
	for _, key := range slices.Sorted(maps.Keys(paths)) {
		p := paths[key]
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
		if !utf8.ValidString(*p) {
			return usagef("%s: found %q, expected a path in UTF-8, as a run's files keep it; rename it, or link to it by another name", key, *p)
		}
	}
	return nil
}

// withoutPaths returns the config with a word in place of every path: what lies there may have moved.
func (c Config) withoutPaths() Config {
	for _, p := range c.paths() {
		*p = "path"
	}
	return c
}

// plainWord matches what a shell takes for one word as it stands.
var plainWord = regexp.MustCompile(`^[\pL\pN/._+=:,@%-]+$`)

// shellWord is a path in a command that is told to be run: in quotes where a shell would not take it for one word.
func shellWord(path string) string {
	if plainWord.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
