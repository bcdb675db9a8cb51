package ckpt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sys/unix"
)

// maxMetricsLine bounds one line, so that a wrong file cannot fill the memory.
const maxMetricsLine = 1 << 20

// ErrTorn says that a file ends in the middle of a record, as it does when its writer was stopped.
var ErrTorn = errors.New("the last line is torn")

// MetricsLog appends to metrics.jsonl, a JSON object per line, each durable when Append returns. Not safe for
// concurrent use.
type MetricsLog struct {
	path string
	file diskFile
	err  error
}

// OpenMetricsLog opens the file at path for appending, and makes it if it is not there. A file whose last line has no
// end is ErrTorn: TruncateMetrics mends it.
func OpenMetricsLog(path string) (*MetricsLog, error) { return openMetricsLog(realDisk{}, path) }

func openMetricsLog(d disk, path string) (*MetricsLog, error) {
	whole, err := endsLine(path)
	created := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !created:
		return nil, fmt.Errorf("metrics: %w", err)
	case err == nil && !whole:
		return nil, fmt.Errorf("metrics: %s: %w: resume the run, which drops it", path, ErrTorn)
	}
	f, err := d.open(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if created {
		if err := d.syncDir(filepath.Dir(path)); err != nil {
			return nil, errors.Join(fmt.Errorf("metrics: %s: fsync its folder: %w", path, err), f.Close())
		}
	}
	return &MetricsLog{path: path, file: f}, nil
}

// endsLine says whether the file is empty or ends with a newline.
func endsLine(path string) (bool, error) {
	f, err := OpenRegular(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err == nil, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil {
		return false, err
	}
	return last[0] == '\n', nil
}

// Append writes one line and makes it durable. line is a JSON object with an integer "step", without a newline. After
// an error the log takes no more lines: what the file ends in is unknown until TruncateMetrics has looked.
func (l *MetricsLog) Append(line []byte) error {
	if l.err != nil {
		return l.err
	}
	if _, err := metricsStep(l.path, line); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	if bytes.IndexByte(line, '\n') >= 0 || len(line) >= maxMetricsLine {
		return fmt.Errorf("metrics: %s: found a line of %d bytes, expected less than %d", l.path, len(line), maxMetricsLine)
	}
	record := append(bytes.Clone(line), '\n') // one write: a line is never cut by another process
	n, err := l.file.Write(record)
	if err == nil && n < len(record) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.err = fmt.Errorf("metrics: %s: %w", l.path, err)
	}
	return l.err
}

// Close closes the file. Nothing is left to write.
func (l *MetricsLog) Close() error {
	if l.err == nil {
		l.err = fmt.Errorf("metrics: %s: %w", l.path, fs.ErrClosed)
	}
	return l.file.Close()
}

// metricsStep returns the "step" of a line.
func metricsStep(where string, line []byte) (int, error) {
	var head struct {
		Step *int `json:"step"`
	}
	if err := DecodeJSON(where, line, &head, strictjson.IgnoreUnknown); err != nil {
		return 0, err
	}
	if head.Step == nil || *head.Step < 0 {
		return 0, fmt.Errorf("%s: expected an object with a step >= 0", where)
	}
	return *head.Step, nil
}

// TruncateMetrics makes the file at path end with the last line of a step <= step, as a resume from that step needs,
// and returns the step of the line that is then the last, 0 if none is left. Lines of later steps are dropped, and so is a last line
// that is torn. Anything else that is not a line of metrics, or a step that falls, is an error that names the line,
// and nothing is dropped. No file is no lines.
func TruncateMetrics(path string, step int) (last int, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("metrics: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err == nil {
		err = CheckRegular(info)
	}
	if err != nil {
		return 0, fmt.Errorf("metrics: %s: %w", path, err)
	}
	last, keep, err := scanMetrics(path, f, step)
	if err != nil {
		return 0, fmt.Errorf("metrics: %w", err)
	}
	if info.Size() == keep {
		return last, nil
	}
	if err := errors.Join(f.Truncate(keep), f.Sync()); err != nil {
		return 0, fmt.Errorf("metrics: cut %s to %d bytes: %w", path, keep, err)
	}
	return last, nil
}

// scanMetrics reads the lines and returns the last step <= step and where its line ends.
func scanMetrics(path string, r io.Reader, step int) (last int, keep int64, err error) {
	in := bufio.NewReaderSize(r, maxMetricsLine)
	previous := -1
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		switch {
		case err == io.EOF: // an empty rest, or a torn line
			return last, keep, nil
		case errors.Is(err, bufio.ErrBufferFull):
			return 0, 0, fmt.Errorf("%s:%d: a line of more than %d bytes", path, number, maxMetricsLine)
		case err != nil:
			return 0, 0, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		s, err := metricsStep(fmt.Sprintf("%s, line %d", path, number), line)
		if err != nil {
			if _, end := in.Peek(1); end == io.EOF && !jsontext.Value(line).IsValid() {
				return last, keep, nil // the last line, of a disk that brought its end home before its middle
			}
			return 0, 0, err
		}
		if s < previous {
			return 0, 0, fmt.Errorf("%s:%d: found step %d after step %d: steps must not fall", path, number, s, previous)
		}
		previous = s
		if s <= step {
			last, keep = s, keep+int64(len(line))
		}
	}
}
