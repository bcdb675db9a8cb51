package flow

import "fmt"

// Sequence is one chain of tokens with the stretch of it that is trained or scored: Tokens[Start:], each given all
// tokens before it. Target k of the sequence, Tokens[Start+k], has index Index+k in the arrays of whoever made it.
type Sequence struct {
	Tokens []int32
	Start  int // 1 <= Start <= len(Tokens): nothing predicts the first token
	Index  int
}

// Rows returns how many rows the sequence takes by itself: all its tokens but the last, which predicts none of its
// targets; none where it has no target.
func (s Sequence) Rows() int {
	if s.Start >= len(s.Tokens) {
		return 0
	}
	return len(s.Tokens) - 1
}

// path returns the tokens of the sequence's rows.
func (s Sequence) path() []int32 { return s.Tokens[:s.Rows()] }

// Run is a stretch of rows without a branch.
type Run struct {
	Start  int32 // first row
	Len    int32 // rows Start..Start+Len; at least 1
	Parent int32 // index of the run that the first token follows; -1 at a root
	Depth  int32 // position of the first token in its sequence
}

// Target says that the hidden state of Row predicts Token. A row may carry several targets: branches part there,
// or several rollouts drew the same token.
type Target struct {
	Row, Token int32
	Index      int32 // in the arrays of Sequence.Index
}

// Forest is a prefix forest over token ids, in depth-first order: parents come before children. A row attends to
// all rows of its ancestors' runs and to its own run up to itself, so no mask is ever stored. It is the only input
// that the engine knows; a plain sequence is a tree of one run.
type Forest struct {
	Tokens, Positions []int32 // per row; a position is the depth in the branch, not the row
	Runs              []Run
	Targets           []Target // ordered by row, token and index: those that predict the same stand together
}

// Path returns the indices of the runs from the root to the run given, itself included: those whose rows its rows
// attend to.
func (f *Forest) Path(run int) []int32 {
	var path []int32
	for r := int32(run); r >= 0; r = f.Runs[r].Parent {
		path = append(path, r)
	}
	for i, j := 0, len(path)-1; i < j; i, j = i+1, j-1 {
		path[i], path[j] = path[j], path[i]
	}
	return path
}

// Validate reports the first breach of what an engine relies on: runs cover the rows in order, each follows the end of
// a run on the path of the run before it (depth first), positions count from the root, no token id is negative, and
// targets lie within the rows, ordered by row and then index, no index twice at a row.
func (f *Forest) Validate() error {
	rows := len(f.Tokens)
	if len(f.Positions) != rows {
		return fmt.Errorf("forest: found %d positions, expected %d: one per token", len(f.Positions), rows)
	}
	next := int32(0)
	for i, r := range f.Runs {
		if r.Start != next || r.Len < 1 || int(r.Len) > rows-int(next) {
			return fmt.Errorf("forest: run %d: found rows %d+%d, expected to start at %d and to end by %d",
				i, r.Start, r.Len, next, rows)
		}
		next += r.Len
		if err := f.checkParent(i); err != nil {
			return err
		}
		for k := range r.Len {
			if p := f.Positions[r.Start+k]; p != r.Depth+k {
				return fmt.Errorf("forest: row %d: found position %d, expected %d", r.Start+k, p, r.Depth+k)
			}
		}
	}
	if int(next) != rows {
		return fmt.Errorf("forest: found runs over %d rows, expected %d", next, rows)
	}
	for row, id := range f.Tokens {
		if id < 0 {
			return fmt.Errorf("forest: row %d: found token %d, expected an id >= 0", row, id)
		}
	}
	for i, t := range f.Targets {
		if t.Row < 0 || int(t.Row) >= rows || t.Token < 0 || t.Index < 0 {
			return fmt.Errorf("forest: target %d: found row %d, token %d, index %d, expected a row below %d and none negative",
				i, t.Row, t.Token, t.Index, rows)
		}
		if i > 0 && compareTargets(f.Targets[i-1], t) >= 0 {
			return fmt.Errorf("forest: target %d: found row %d, token %d, index %d after row %d, token %d, index %d, expected ascending order",
				i, t.Row, t.Token, t.Index, f.Targets[i-1].Row, f.Targets[i-1].Token, f.Targets[i-1].Index)
		}
	}
	return nil
}

// checkParent checks Parent and Depth of run i, those before it being right.
func (f *Forest) checkParent(i int) error {
	r := f.Runs[i]
	if r.Parent == -1 {
		if r.Depth != 0 {
			return fmt.Errorf("forest: run %d: found depth %d at a root, expected 0", i, r.Depth)
		}
		return nil
	}
	a := int32(i) - 1
	for a >= 0 && a != r.Parent {
		a = f.Runs[a].Parent
	}
	if a < 0 {
		return fmt.Errorf("forest: run %d: found parent %d, expected -1 or a run on the path of run %d", i, r.Parent, i-1)
	}
	if end := f.Runs[a].Depth + f.Runs[a].Len; r.Depth != end {
		return fmt.Errorf("forest: run %d: found depth %d, expected %d, where its parent ends", i, r.Depth, end)
	}
	return nil
}
