// Command afctl trains the planner of an agentic system with Flow-GRPO, on one machine.
//
// Each command has a file of its own, named after it, which returns its cobra.Command; commands lists them. What they share:
// Config (config.go) with its keys (keys.go), read strictly from YAML and --set (configread.go, yamlvalue.go) and written back
// (configwrite.go); session (session.go), a model on a back end with what is trained on it; schedule (schedule.go); JSON Lines in
// (lines.go) and files out (output.go, metrics.go); progress (progress.go), and the live view of a run (live.go).
//
//	afctl init --out afctl.yaml
//	afctl update --model DIR --trajectories t.jsonl --out DIR
//
// Data goes to stdout, everything else to stderr. A command returns an error and never exits: run prints it as one line and turns
// it into the exit status, 2 for wrong usage (a usageError: commands, flags and config keys), 1 for everything else. A command ends
// soon after its context does, with nothing half-written.
package main
