// Package gym is the embedded world that a planner is trained in: closed, seeded, offline, with real tools and checkable
// questions.
//
// A World is made from one integer. It holds invented countries, cities, rivers, people, books and firms with their relations
// and dates, as articles (the index behind Wikipedia_Search) and as web pages (the store behind Web_Search); some facts
// stand in only one of the two, some pages are outdated, some articles are missing. Everything comes in two halves, Train and
// HeldOut, that share no name, no address and no number.
//
//	family       example                                   the plan that works                        turns
//	common       What is the capital of Vesk?              Base_Generator                             1
//	arithmetic   Compute 418 * 37 - 95.                    Calculator                                 1
//	lookup       In which country is the city Velmar?      Wikipedia_Search, the name as it is        1
//	page         How many mills does zorak.test/tin report? Web_Search with that address              1
//	two-hop      Where was the author of the book Orin born? search, then what memory now names       2
//	lookup+math  How old was Orin in 1850?                 search, then the difference of the years   2
//	recover      as lookup, but the article is missing     see the error, take Web_Search instead     2
//
// Executor, verifier and generator are rules (package frozen) that see questions and memory only. The planner is any
// rollout.Planner: a model with Template, or one of the demonstrators, Teacher and Naive, whose solves also make the examples for
// supervised training (Demos) and the text for the tokenizer (Corpus).
//
// Errors are returned; with a good seed only a context that ends gives one. A World is safe for concurrent use until it
// is closed.
//
//	w, err := gym.New(1)
//	defer w.Close()
//	solver := w.Solver(gym.Teacher{}, rollout.Options{})
//	for i, task := range w.Tasks(gym.HeldOut, 500, 7) {
//		fmt.Println(solver.Solve(ctx, rollout.Job{Task: task, Seed: uint64(i)}).Answer)
//	}
package gym
