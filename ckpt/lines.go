package ckpt

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// ByteOrderMark may stand before the text of a file; editors put it there.
const ByteOrderMark = "\ufeff"

// SkipMark passes over a byte order mark, and tells how many bytes it takes.
func SkipMark(r *bufio.Reader) int {
	if head, _ := r.Peek(len(ByteOrderMark)); string(head) != ByteOrderMark {
		return 0
	}
	n, _ := r.Discard(len(ByteOrderMark))
	return n
}

// Lines reads the lines of a file of JSON Lines, a byte order mark aside.
type Lines struct {
	N      int   // of the line read last, from 1
	Offset int64 // of its first byte in the file

	r    *bufio.Reader
	end  int64
	most int
}

// NewLines reads lines of at most so many bytes.
func NewLines(r io.Reader, most int) *Lines {
	l := &Lines{r: bufio.NewReaderSize(r, 1<<20), most: most}
	l.end = int64(SkipMark(l.r))
	return l
}

// Next gives a line with its break, which the last one may lack; it is valid until the next call. io.EOF follows the last.
func (l *Lines) Next() ([]byte, error) {
	l.N++
	l.Offset = l.end
	line, err := l.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		line = bytes.Clone(line)
	}
	for err == bufio.ErrBufferFull && len(line) <= l.most {
		var part []byte
		part, err = l.r.ReadSlice('\n')
		line = append(line, part...)
	}
	l.end += int64(len(line))
	switch {
	case len(line) > l.most:
		return nil, fmt.Errorf("found more than %d bytes in one line, expected one JSON object per line", l.most)
	case err == io.EOF && len(line) > 0:
		return line, nil
	}
	return line, err
}
