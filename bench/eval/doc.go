// Package eval measures a planner: it solves every task of a suite k times, and turns trajectories into figures that a
// reader can trust.
//
//	Summarize   tasks, trajectories -> Summary    pure; also what the report of a training run is made of
//	Run         solver, tasks, k    -> Report     resumable: solves only what is not stored yet
//	Compare     two reports         -> Comparison paired by task, exact test
//
// Every requested solve is in the denominator. A solve that failed or is missing counts as wrong, by its kind, and is listed in
// its row; so accuracies of two systems over one suite are always over the same number.
//
// Errors name the task and the field. Interrupted runs return the context's error, and nothing that was stored is lost. The
// functions are safe for concurrent use; a Run's Store is called from one goroutine at a time.
//
//	run := eval.Run{Solver: solver, Suite: "gym:heldout", Tasks: tasks, Repeats: 3, Seed: 1, Store: db.Save}
//	report, err := run.Do(ctx)
//	if err == nil {
//		err = report.WriteTable(os.Stdout)
//	}
package eval
