// Package score holds the rule scorers: pure functions that compare an answer with a task's ground truth and say why.
//
//	exact    normalised exact match over the accepted answers (SQuAD's rules, made safe for Unicode, numbers, lists, ranges and formulas)
//	f1       token F1, the best over the accepted answers
//	number   numeric and LaTeX-number equivalence, lists, units and percentages
//	choice   multiple choice by letter or by the option's text
//	yesno    yes or no
//	game24   an arithmetic expression that uses each given number once and makes 24, computed
//
// A scorer is found by name (Lookup); a task names its own in Task.Scorer or takes its suite's default. A Grade is a
// reward in 0..1 and a reason that a reader of a report understands without the code.
//
// What cannot be judged is an error, never a silent 0: an unknown scorer (ErrUnknown), or a task whose ground truth
// the rule cannot use (ErrTruth). Whatever the answer holds is data: it can be wrong, it cannot be an error, and the
// work is bounded (MaxAnswer). All functions are pure and safe for concurrent use.
//
//	rule, err := score.Lookup("number")
//	grade, err := rule(flow.Task{ID: "t", Answers: []string{`\frac{7}{2}`}}, "so it is 3.50")
//	fmt.Println(grade.Reward, grade.Reason) // 1 "3.50 equals \frac{7}{2}"
package score
