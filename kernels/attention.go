package kernels

// Heads are the counts of attention: Query heads share KeyValue heads in equal groups, in order (Ainslie et al. 2023), each of Dim elements.
type Heads struct{ Query, KeyValue, Dim int }

// Run is a stretch of rows without a branch, as a forest is made of: rows Start..Start+Len, which begin where those of the run before end; Parent the
// index of the run that it continues (-1 at a root, and before its children), Depth the position of its first row: its parent's end, 0 at a root.
type Run struct{ Start, Len, Parent, Depth int32 }

// Seg is a stretch of keys in a KV: slots Slot..Slot+Len.
type Seg struct{ Slot, Len int32 }

// Plan says who attends to whom, in whatever form a back end works through it. It is filled anew for every batch of rows and keeps its memory: either
// by Forest, for Attention and AttentionBack, or by Add and AddBatch after Reset, for AttentionKV, whose queries are those that were added, in
// that order. What it is given and cannot be is refused by the operation that it is for, with ErrShape. Filling it may go on beside operations of its
// back end that do not use it.
type Plan interface {
	// Forest is of the rows of runs. rows, if not nil, are the query rows wanted, ascending: query i is then row rows[i], and the keys are
	// still all rows.
	Forest(runs []Run, rows []int32)
	// Reset empties it.
	Reset()
	// Add appends n queries that follow one another: path holds the keys that the last of them attends to, in order, and ends with the n
	// queries' own, all of them in its last segment.
	Add(n int, path []Seg)
	// AddBatch appends a query for each path of keys (its own among them). In the order of ComparePaths, what neighbours share is read once.
	AddBatch(paths [][]Seg)
}

// KV is memory for the keys and values of one layer, a slot for each token, in a back end's own layout. The parity of a token's slot is that of
// its position.
type KV interface {
	Heads() Heads
	DType() DType
}

// ComparePaths orders paths of keys by the slots that they lead over, a path before those that go on from its end: paths that begin alike then
// stand together, however each is cut into segments.
func ComparePaths(a, b []Seg) int {
	var i, j int
	var x, y int32 // keys of a[i] and b[j] that were compared
	for i < len(a) && j < len(b) {
		if d := a[i].Slot + x - b[j].Slot - y; d != 0 {
			return int(d)
		}
		n := min(a[i].Len-x, b[j].Len-y)
		if x += n; x == a[i].Len {
			i, x = i+1, 0
		}
		if y += n; y == b[j].Len {
			j, y = j+1, 0
		}
	}
	return (len(a) - i) - (len(b) - j)
}
