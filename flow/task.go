package flow

// Task is one question with its ground truth.
type Task struct {
	// ID is unique in a set of tasks. It names the group of the task's rollouts.
	ID string `json:"id"`
	// Question is what the agentic system is asked.
	Question string `json:"question"`
	// Answers are the accepted answers, any of them.
	Answers []string `json:"answers"`
	// Scorer names the rule that compares an answer with Answers; empty means the suite's default.
	Scorer string `json:"scorer,omitempty"`
	// Choices are the options of a multiple-choice question, in order (A, B, ...).
	Choices []string `json:"choices,omitempty"`
	// Meta carries what is known about the task besides, such as its MetaFamily. Solvers never see it.
	Meta map[string]string `json:"meta,omitempty"`
}

// MetaFamily is the key of Task.Meta by which figures are broken down.
const MetaFamily = "family"
