package flow

import "fmt"

// path returns the indices of the runs from the root to the run given, itself included: those whose rows its rows
// attend to.
func (f *Forest) path(run int) []int32 {
	var path []int32
	for r := int32(run); r >= 0; r = f.Runs[r].Parent {
		path = append(path, r)
	}
	for i, j := 0, len(path)-1; i < j; i, j = i+1, j-1 {
		path[i], path[j] = path[j], path[i]
	}
	return path
}

// validate reports the first breach of what an engine relies on: runs cover the rows in order, each follows the end of
// a run on the path of the run before it (depth first), positions count from the root, no token id is negative, and
// targets lie within the rows, ordered by row, token and index, none twice.
func (f *Forest) validate() error {
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
