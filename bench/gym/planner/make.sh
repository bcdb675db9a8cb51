#!/bin/sh
# Makes the embedded planner from nothing but this repository: make.sh AFCTL. About half an hour on two cores. The same kernels on the same
# instruction set give the same bytes, whatever the threads; others round differently, and their planner differs in its last bits and what
# follows from them.
set -eu
afctl=$1
here=$(dirname "$0")
work=${PLANNER_WORK:-build/planner}
rm -rf "$work"
go run ./bench/gym/makeplanner --out "$work"
# First to read: all tokens of transcripts without a plan. Then to copy what stands among others. Then to plan as gym.Naive does: its answers alone.
settings="--set trainable=full --set optimizer.lr=2e-3 --set optimizer.beta2=0.99 --set optimizer.weight_decay=0.05 --set optimizer.max_grad_norm=1
	--set optimizer.schedule=cosine --set optimizer.warmup_steps=100 --batch-size 16 --seed 1"
"$afctl" sft --model "$work/base" --data "$work/texts.jsonl" --out "$work/reader" $settings
"$afctl" sft --model "$work/reader" --data "$work/drills.jsonl" --out "$work/copier" $settings
"$afctl" sft --model "$work/copier" --data "$work/answers.jsonl" --out "$work/planner" $settings --save-dtype bf16
for f in config.json model.safetensors tokenizer.json tokenizer_config.json; do cp "$work/planner/$f" "$here/$f"; done
"$afctl" eval --model "$here" --suite gym:heldout --n 2000 --set rollout.eval_max_turns=3 --set flow.temperature=0.7 --out "$work/eval"
go run ./bench/gym/makeplanner --record "$here" --eval "$work/eval/eval.json"
cat "$here/PLANNER.json"
echo 'made; build again to embed it'
