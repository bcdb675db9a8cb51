// Package rollout is the agentic system: it solves a task with four modules (planner, executor, verifier, generator,
// and an analyst once before them) around an evolving memory and tools, and records every planner call as exact
// token ids (AgentFlow, arXiv 2510.05592, sec. 3).
//
//	analyst    question, tools                       -> analysis                once, frozen
//	planner    question, analysis, tools, memory     -> sub-goal and tool       the trained call
//	executor   question, sub-goal, context, spec     -> arguments               frozen, checked against the tool's schema
//	tool       arguments                             -> result
//	verifier   question, analysis, memory            -> STOP or CONTINUE        frozen
//	generator  question, analysis, memory            -> answer                  frozen
//
// A Model gives text (and, for the trained call, token ids and log-probs); a slot (Analyst, Planner, Executor, Verifier,
// Generator) is one module, backed by a model (ModelPlanner and its like, with templates that a user can replace) or
// scripted; a Tool is what the planner can choose, out of a Registry. A Solver ties one of each together with a Scorer.
// rollout does not know the engine: cmd hands it the engine's sampler as one of the models.
//
//	registry, err := rollout.NewRegistry(tools.NewCalculator(), tools.NewWikipediaSearch(ix, 3))
//	slots := rollout.Slots{Planner: rollout.ModelPlanner{Model: policy, Temperature: 1}, Executor: rollout.ModelExecutor{Model: frozen},
//		Verifier: rollout.ModelVerifier{Model: frozen}, Generator: rollout.ModelGenerator{Model: frozen}}
//	solver := rollout.Solver{Slots: slots, Tools: registry, Score: score, Options: rollout.Options{MaxTurns: 3, Record: true, Concurrency: 256}}
//	err = solver.SolveAll(ctx, jobs, store.Put)
//
// Errors are values of a kind (see KindParse and those after it). What the planner, the executor or a tool gets wrong
// is a recorded step, which the planner sees in its memory at the next turn; what ends a solve leaves a trajectory
// without a reward. Both have a kind, to be counted by. Transient errors are retried with back-off, every call and every
// solve has a deadline, and a panic in a slot or tool ends that solve alone.
//
// Nothing that a model or a tool wrote is ever run, nor read as a template or as a query language: it is parsed as data.
//
// A Solver, a Registry and the model-backed slots are safe for concurrent use; every solve has a memory of its own, which
// is not. All random streams of a solve derive from Job.Seed by slot and turn, so that a solve does not depend on what
// runs beside it.
package rollout
