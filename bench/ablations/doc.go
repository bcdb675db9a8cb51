// Command ablations trains the gym's planner with one thing changed at a time, and prints what comes of it:
//
//	go run ./bench/ablations --afctl bin/afctl --out build/ablations --seeds 1,2,3
//
// It calls the afctl binary as a user would, with the configs of bench/configs. An ablation compares a few arms; an arm is a
// config, and one that several ablations share (the demo) is run once per seed. What it prints on stdout is a Markdown table per ablation,
// an arm per column; ablations.md and ablations.json in --out have the same. afctl's own output goes to stderr.
//
//	plan.go     ablations, arms, and the commands of an arm: pure
//	run.go      runs an arm in its folder, and goes on where it was stopped
//	demos.go    the teacher's demonstrations for afctl sft
//	outcome.go  a finished folder -> the figures of an arm
//	table.go    figures -> Markdown: pure
//
// Every arm has the folder OUT/arm/seed-N. A finished one is not run again, an unfinished one goes on, one that was made with other
// settings is refused. Errors are returned, and name the folder and the command that failed. One command runs at a time, each with a
// deadline (--limit).
package main
