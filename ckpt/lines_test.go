package ckpt

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 3<<20) // longer than the buffer
	for _, mark := range []string{"", ByteOrderMark} {
		for _, want := range [][]string{nil, {"a"}, {"a\n"}, {"\n", "b\r\n", "", "\ufeffc"}, {long + "\n", "a\n", long}} {
			text := mark + strings.Join(want, "")
			l := NewLines(iotest.HalfReader(strings.NewReader(text)), len(long)+1)
			n := 0
			for _, w := range want {
				if w == "" {
					continue
				}
				n++
				if line, err := l.Next(); err != nil || string(line) != w || l.N != n || !strings.HasPrefix(text[l.Offset:], w) {
					t.Fatalf("line %d (%d) at %d of %.20q: %.20q, %v; expected %.20q", n, l.N, l.Offset, text, line, err, w)
				}
			}
			if line, err := l.Next(); err != io.EOF {
				t.Errorf("behind the last of %.20q: %.20q, %v", text, line, err)
			}
		}
	}
	l := NewLines(strings.NewReader("a\n"+long), 2<<20)
	l.Next()
	if _, err := l.Next(); err == nil || err.Error() != "found more than 2097152 bytes in one line, expected one JSON object per line" || l.N != 2 {
		t.Errorf("line %d: %v", l.N, err)
	}
	l = NewLines(io.MultiReader(strings.NewReader("a"), iotest.ErrReader(io.ErrClosedPipe)), 9)
	if _, err := l.Next(); err != io.ErrClosedPipe {
		t.Errorf("%v", err)
	}
}
