// Package suite reads sets of tasks: benchmarks in AgentFlow's file format, any JSON, JSONL or parquet file with a
// question and an answer per row, and the gym.
//
// A row's question is in the first of query, question, problem that it has; its answer in the first of answer, answers,
// golden_answers, final_answer, result, solution, and others that will do in answer_aliases; its options in choices or options, with the right one in answer_idx or
// answer. Its own id is pid, idx or id; family, where it has one, is what figures are broken down by. Other columns are left alone. A key that differs from one of these by its case only is
// an error, unless the row has that one too, with the same value; so are duplicate keys, a row without a question or an
// answer, and a row with an image.
//
// Tasks are keyed by a hash of their content (Task.ID), so that a result can never be marked against another row's
// answer. Two rows of the same content, or two that claim the same id, are an error that lists them.
//
// Reading is strict and all or nothing: a *FileError names the file, the rows and what is wrong with each (the first few).
// Values are immutable by convention; all functions are safe for concurrent use.
//
//	s, err := suite.Reader{}.Load("hotpotqa.json")
//	s = s.Shuffle(1).Limit(100)
//	for _, task := range s.Tasks {
//		fmt.Println(task.Meta["row"], task.Question, task.Scorer)
//	}
package suite
