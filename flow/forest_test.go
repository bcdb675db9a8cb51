package flow

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawSequences draws sequences over few tokens, so that prefixes, duplicates and extensions are common; indices are
// those of consecutive arrays.
func drawSequences(t *rapid.T) []Sequence {
	n := rapid.IntRange(0, 12).Draw(t, "sequences")
	seqs := make([]Sequence, n)
	index := 0
	for i := range seqs {
		var tokens []int32
		if i > 0 && rapid.Bool().Draw(t, "extends") {
			old := seqs[rapid.IntRange(0, i-1).Draw(t, "of")].Tokens
			tokens = slices.Clone(old[:rapid.IntRange(0, len(old)).Draw(t, "prefix")])
		}
		more := rapid.SliceOfN(rapid.Int32Range(0, 2), 1, 6).Draw(t, "tokens")
		tokens = append(tokens, more...)
		seqs[i] = Sequence{Tokens: tokens, Start: rapid.IntRange(1, len(tokens)).Draw(t, "start"), Index: index}
		index += len(tokens) - seqs[i].Start
	}
	return seqs
}

// prediction is one target as the model sees it: the tokens before it, itself, and its index.
type prediction struct {
	Before string
	Token  int32
	Index  int32
}

// predictionsOf lists what sequences predict, by index.
func predictionsOf(seqs []Sequence) []prediction {
	var ps []prediction
	for _, s := range seqs {
		for k := s.Start; k < len(s.Tokens); k++ {
			ps = append(ps, prediction{fmt.Sprint(s.Tokens[:k]), s.Tokens[k], int32(s.Index + k - s.Start)})
		}
	}
	slices.SortFunc(ps, func(a, b prediction) int { return cmp.Compare(a.Index, b.Index) })
	return ps
}

// context returns the tokens that a row attends to, by the rule of Forest: its ancestors' runs, and its own up to it.
func (f *Forest) context(row int32) []int32 {
	run := 0
	for run+1 < len(f.Runs) && f.Runs[run+1].Start <= row {
		run++
	}
	var tokens []int32
	for _, r := range f.path(run) {
		tokens = append(tokens, f.Tokens[f.Runs[r].Start:min(f.Runs[r].Start+f.Runs[r].Len, row+1)]...)
	}
	return tokens
}

// forestPredictions lists what forests predict, by index.
func forestPredictions(fs []Forest) []prediction {
	var ps []prediction
	for i := range fs {
		for _, t := range fs[i].Targets {
			ps = append(ps, prediction{fmt.Sprint(fs[i].context(t.Row)), t.Token, t.Index})
		}
	}
	slices.SortFunc(ps, func(a, b prediction) int { return cmp.Compare(a.Index, b.Index) })
	return ps
}

// prefixes counts the distinct prefixes of the sequences' rows: the nodes of their prefix tree.
func prefixes(seqs []Sequence) int {
	nodes := map[string]bool{}
	for _, s := range seqs {
		for k := 1; k <= s.Rows(); k++ {
			nodes[fmt.Sprint(s.Tokens[:k])] = true
		}
	}
	return len(nodes)
}

func rowsOf(fs []Forest) int {
	n := 0
	for _, f := range fs {
		n += len(f.Tokens)
	}
	return n
}

// checkMaximal reports rows that nothing needs, and branches that should be one.
func checkMaximal(f *Forest) error {
	children := make([]map[int32]bool, len(f.Runs)+1) // first tokens of the children; the last entry is for roots
	for i := range children {
		children[i] = map[int32]bool{}
	}
	for i, r := range f.Runs {
		c := children[len(f.Runs)]
		if r.Parent >= 0 {
			c = children[r.Parent]
		}
		first := f.Tokens[r.Start]
		if c[first] {
			return fmt.Errorf("run %d: a sibling starts with token %d too", i, first)
		}
		c[first] = true
	}
	used := map[int32]bool{}
	for _, t := range f.Targets {
		used[t.Row] = true
	}
	for i, r := range f.Runs {
		switch last := r.Start + r.Len - 1; {
		case len(children[i]) == 1:
			return fmt.Errorf("run %d has a single child: no branch", i)
		case len(children[i]) == 0 && !used[last]:
			return fmt.Errorf("row %d is a leaf without a target", last)
		}
	}
	return nil
}

func TestForestsPredictWhatSequencesPredict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seqs := drawSequences(t)
		budget := rapid.IntRange(-1, 30).Draw(t, "budget")
		fs := Forests(seqs, budget)
		if diff := gocmp.Diff(predictionsOf(seqs), forestPredictions(fs)); diff != "" {
			t.Fatalf("budget %d: predictions differ (-sequences +forests):\n%s", budget, diff)
		}
		longest := 0
		for _, s := range seqs {
			longest = max(longest, s.Rows())
		}
		for i := range fs {
			if err := fs[i].validate(); err != nil {
				t.Fatal(err)
			}
			if err := checkMaximal(&fs[i]); err != nil {
				t.Fatalf("micro-batch %d: %v: %+v", i, err, fs[i])
			}
			if rows := len(fs[i].Tokens); budget > 0 && rows > max(budget, longest) {
				t.Fatalf("micro-batch %d has %d rows, budget %d, longest sequence %d", i, rows, budget, longest)
			}
		}
		if budget <= 0 && (rowsOf(fs) != prefixes(seqs) || len(fs) > 1) {
			t.Fatalf("%d rows in %d forests, expected %d in one", rowsOf(fs), len(fs), prefixes(seqs))
		}
	})
}

func TestForestsDoNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seqs := drawSequences(t)
		budget := rapid.IntRange(0, 30).Draw(t, "budget")
		other := rapid.Permutation(seqs).Draw(t, "order")
		if diff := gocmp.Diff(Forests(seqs, budget), Forests(other, budget)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// leastRows returns the fewest rows in all that any cut of the sorted sequences of one tree into stretches gives.
func leastRows(seqs []Sequence, budget int) int {
	if len(seqs) == 0 {
		return 0
	}
	rows := -1
	for n := 1; n <= len(seqs); n++ {
		first := prefixes(seqs[:n])
		if first > max(budget, seqs[n-1].Rows()) {
			break
		}
		if r := first + leastRows(seqs[n:], budget); rows < 0 || r < rows {
			rows = r
		}
	}
	return rows
}

func TestCutRepeatsTheFewestRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var seqs []Sequence
		for _, s := range drawSequences(t) {
			s.Tokens, s.Start = append([]int32{7}, s.Tokens...), s.Start+1 // one tree
			if s.Rows() > 0 {
				seqs = append(seqs, s)
			}
		}
		slices.SortFunc(seqs, compareSequences)
		budget := rapid.IntRange(1, 30).Draw(t, "budget")
		rows := 0
		for _, p := range cut(seqs, budget) {
			if n := prefixes(seqs[p.from:p.to]); n != p.rows {
				t.Fatalf("piece %+v has %d rows", p, n)
			}
			rows += p.rows
		}
		if least := leastRows(seqs, budget); rows != least {
			t.Fatalf("%d rows, possible are %d", rows, least)
		}
	})
}

// TestForestByHand is the smallest forest that has all there is: a shared prefix, a branch, an extension of another
// sequence, a duplicate, and two targets at one row.
func TestForestByHand(t *testing.T) {
	seqs := []Sequence{
		{Tokens: []int32{1, 2, 3, 4}, Start: 3, Index: 0},       // 3 -> 4
		{Tokens: []int32{1, 2, 3, 5, 6}, Start: 3, Index: 1},    // 3 -> 5, 5 -> 6
		{Tokens: []int32{1, 2, 3, 4}, Start: 3, Index: 3},       // the first again
		{Tokens: []int32{1, 2, 3, 4, 9, 8}, Start: 5, Index: 4}, // extends the first
		{Tokens: []int32{5, 1}, Start: 0, Index: 4},             // another root; nothing predicts its first token
		{Tokens: []int32{5, 1, 7}, Start: 3, Index: 6},          // nothing to predict: no row
	}
	want := []Forest{{
		Tokens:    []int32{1, 2, 3, 4, 9, 5, 5},
		Positions: []int32{0, 1, 2, 3, 4, 3, 0},
		Runs:      []Run{{0, 3, -1, 0}, {3, 2, 0, 3}, {5, 1, 0, 3}, {6, 1, -1, 0}},
		Targets:   []Target{{2, 4, 0}, {2, 4, 3}, {2, 5, 1}, {4, 8, 4}, {5, 6, 2}, {6, 1, 5}},
	}}
	got := Forests(seqs, 0)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if p := got[0].path(2); !slices.Equal(p, []int32{0, 2}) {
		t.Errorf("path(2) = %v, expected [0 2]", p)
	}
}

// TestForestsPackSmallTrees: trees of 3, 3, 2 and 2 rows fill two micro-batches of 5, which no
// cut of them in that order does.
func TestForestsPackSmallTrees(t *testing.T) {
	var seqs []Sequence
	for i, n := range []int{3, 3, 2, 2} {
		tokens := append([]int32{int32(i)}, make([]int32, n)...)
		seqs = append(seqs, Sequence{Tokens: tokens, Start: n, Index: i})
	}
	fs := Forests(seqs, 5)
	if len(fs) != 2 || len(fs[0].Tokens) != 5 || len(fs[1].Tokens) != 5 {
		t.Errorf("found %d micro-batches, expected 2 of 5 rows: %+v", len(fs), fs)
	}
}

// TestForestLongerThanBudget: a path that no budget holds is kept whole, once, with all that lies on it.
func TestForestLongerThanBudget(t *testing.T) {
	long := make([]int32, 100)
	for i := range long {
		long[i] = int32(i)
	}
	seqs := []Sequence{
		{Tokens: long, Start: 99, Index: 0},
		{Tokens: long, Start: 50, Index: 1},
		{Tokens: long[:60], Start: 59, Index: 51},
		{Tokens: []int32{500, 1, 2}, Start: 1, Index: 52},
	}
	fs := Forests(seqs, 10)
	if len(fs) != 2 || len(fs[0].Tokens) != 99 || len(fs[1].Tokens) != 2 {
		t.Fatalf("found %d micro-batches, expected one of 99 rows and one of 2: %+v", len(fs), fs)
	}
}

func TestForestValidateFindsEveryBreach(t *testing.T) {
	good := func() Forest {
		return Forests([]Sequence{
			{Tokens: []int32{1, 2, 3, 4}, Start: 2, Index: 0},
			{Tokens: []int32{1, 2, 5, 6}, Start: 2, Index: 2},
			{Tokens: []int32{1, 7, 5, 6}, Start: 1, Index: 4},
		}, 0)[0]
	}
	f := good()
	if err := f.validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(f *Forest){
		"positions missing":    func(f *Forest) { f.Positions = f.Positions[1:] },
		"position wrong":       func(f *Forest) { f.Positions[2]++ },
		"token negative":       func(f *Forest) { f.Tokens[1] = -1 },
		"run empty":            func(f *Forest) { f.Runs[1].Len = 0 },
		"run beyond the rows":  func(f *Forest) { f.Runs[len(f.Runs)-1].Len = 1 << 30 },
		"run not at its place": func(f *Forest) { f.Runs[1].Start++ },
		"rows without a run":   func(f *Forest) { f.Runs = f.Runs[:len(f.Runs)-1] },
		"parent is a child":    func(f *Forest) { f.Runs[1].Parent = 2 },
		"parent below -1":      func(f *Forest) { f.Runs[1].Parent = -2 },
		"parent not on path":   func(f *Forest) { f.Runs[4].Parent = 2 },
		"root with a depth":    func(f *Forest) { f.Runs[0].Depth = 1 },
		"depth wrong":          func(f *Forest) { f.Runs[1].Depth++ },
		"target beyond rows":   func(f *Forest) { f.Targets[len(f.Targets)-1].Row = 99 },
		"target token":         func(f *Forest) { f.Targets[0].Token = -1 },
		"target index":         func(f *Forest) { f.Targets[0].Index = -1 },
		"targets out of order": func(f *Forest) { slices.Reverse(f.Targets) },
		"target twice":         func(f *Forest) { f.Targets[1] = f.Targets[0] },
	} {
		f := good()
		spoil(&f)
		if err := f.validate(); err == nil {
			t.Errorf("%s: found no error in %+v", name, f)
		}
	}
}

// agentSequences makes an update as agents make them: groups of 8 rollouts of 3 turns; the group shares most of its
// first prompt, and each turn's prompt extends the one before.
func agentSequences(groups int) []Sequence {
	r := rand.New(rand.NewPCG(1, 2))
	ids := func(lo, hi int) []int32 {
		out := make([]int32, lo+r.IntN(hi-lo+1))
		for i := range out {
			out[i] = r.Int32N(150000)
		}
		return out
	}
	var seqs []Sequence
	index := 0
	for range groups {
		shared := ids(1350, 1350)
		for range 8 {
			prompt := slices.Concat(shared, ids(130, 170))
			for range 3 {
				action := ids(160, 240)
				seqs = append(seqs, Sequence{slices.Concat(prompt, action), len(prompt), index})
				index += len(action)
				prompt = slices.Concat(prompt, ids(100, 150))
			}
		}
	}
	return seqs
}

// TestForestsAreWellFilled measures the cut and the packing on an update of agents' shape, against what is possible at
// best (every row once, every micro-batch full) and against filling micro-batches in sorted order.
func TestForestsAreWellFilled(t *testing.T) {
	seqs := agentSequences(4)
	sorted := slices.Clone(seqs)
	slices.SortFunc(sorted, compareSequences)
	unshared := 0
	for _, s := range seqs {
		unshared += s.Rows()
	}
	once := rowsOf(Forests(seqs, 0))
	for _, budget := range []int{4096, 8192, 16384} {
		fs := Forests(seqs, budget)
		var naive, naiveRows int
		for from := 0; from < len(sorted); {
			to := from + 1
			for to < len(sorted) && len(build(sorted[from:to+1]).Tokens) <= budget {
				to++
			}
			naive, naiveRows = naive+1, naiveRows+len(build(sorted[from:to]).Tokens)
			from = to
		}
		rows := rowsOf(fs)
		fewest := (rows + budget - 1) / budget
		t.Logf("budget %5d: %2d micro-batches (%d if all were full), %d rows (%d once, %d unshared), %d repeated; in sorted order %d, %d repeated",
			budget, len(fs), fewest, rows, once, unshared, rows-once, naive, naiveRows-once)
		if rows > naiveRows || len(fs) > naive+1 {
			t.Errorf("budget %d: %d micro-batches of %d rows in all, filling in sorted order takes %d of %d",
				budget, len(fs), rows, naive, naiveRows)
		}
	}
}

func BenchmarkForests(b *testing.B) {
	seqs := agentSequences(32)
	tokens := 0
	for _, s := range seqs {
		tokens += len(s.Tokens)
	}
	for _, budget := range []int{0, 8192} {
		b.Run(fmt.Sprintf("%dx%d/budget%d", len(seqs), tokens/len(seqs), budget), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(4 * int64(tokens))
			for b.Loop() {
				Forests(seqs, budget)
			}
		})
	}
}
