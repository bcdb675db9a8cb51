package flow

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
