// Package frozen holds the modules of the gym that are not trained: executor, verifier and generator as rules without a
// model, and the frozen language model behind Base_Generator, which knows some common facts by heart.
//
// They work from the form of the question (Parse) and the results in memory (Recall), and see nothing else: the package
// does not know the world or its tasks, and the slots get a rollout.Input like any model would. What a tool said is
// believed, be it an outdated page; what memory lacks is answered "unknown".
//
// A question of no known form is no error: the verifier continues and the generator does not know. All values are
// immutable and safe for concurrent use.
//
//	slots := rollout.Slots{
//		Planner:   planner,
//		Executor:  frozen.Executor{}, Verifier: frozen.Verifier{}, Generator: frozen.Generator{},
//	}
//	base := tools.NewBaseGenerator(frozen.NewModel(facts))
package frozen
