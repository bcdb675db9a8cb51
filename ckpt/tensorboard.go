package ckpt

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// TensorBoard reads every file below a folder whose name holds "tfevents", in the order of their names. Such a file is
// a sequence of TFRecords, each of which holds one Event in protobuf's encoding:
//
//	record   uint64 length | uint32 masked CRC-32C of the length | bytes | uint32 masked CRC-32C of the bytes
//	Event    wall_time 1 double, step 2 int64, file_version 3 string, summary 5 Summary, session_log 7 SessionLog
//	Summary  value 1 repeated Value;  Value  tag 1 string, simple_value 2 float
//
// Sources: tensorflow/core/lib/io/record_writer.cc, tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto.

// Fields and values of the messages above.
const (
	eventWallTime    = protowire.Number(1)
	eventStep        = protowire.Number(2)
	eventFileVersion = protowire.Number(3)
	eventSummary     = protowire.Number(5)
	eventSessionLog  = protowire.Number(7)
	summaryValue     = protowire.Number(1)
	valueTag         = protowire.Number(1)
	valueSimple      = protowire.Number(2)
	sessionLogStatus = protowire.Number(1)
	sessionStart     = 1

	eventsVersion = "brain.Event:2"
	eventsPrefix  = "events.out.tfevents."
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is the checksum of a TFRecord: rotated and offset, so that a CRC over data that holds CRCs stays useful.
func maskedCRC(data []byte) uint32 {
	crc := crc32.Checksum(data, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}

// TensorBoard writes scalars for TensorBoard. What it writes can be made again from metrics.jsonl and run.db, so nothing is
// synced; a torn end, which TensorBoard passes over, is all that a stop can do to it. Not safe for concurrent use.
type TensorBoard struct {
	file *os.File
	out  *bufio.Writer
	err  error
}

// NewTensorBoard starts a new event file in dir, which it makes if it is not there. nextStep is the first step that
// will be written: TensorBoard drops what earlier files of the folder say about it and later steps, so that a run that
// was resumed shows once. now is the time of the start.
func NewTensorBoard(dir string, nextStep int, now time.Time) (*TensorBoard, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("tensorboard: %w", err)
	}
	f, err := createEventFile(dir, now)
	if err != nil {
		return nil, fmt.Errorf("tensorboard: %w", err)
	}
	t := &TensorBoard{file: f, out: bufio.NewWriter(f)}
	version := protowire.AppendTag(nil, eventFileVersion, protowire.BytesType)
	t.event(0, now, protowire.AppendString(version, eventsVersion))
	log := protowire.AppendTag(nil, sessionLogStatus, protowire.VarintType)
	log = protowire.AppendVarint(log, sessionStart)
	start := protowire.AppendTag(nil, eventSessionLog, protowire.BytesType)
	t.event(nextStep, now, protowire.AppendBytes(start, log))
	if err := t.Flush(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

// createEventFile makes a file whose name sorts after those that are there: they start with the time in seconds, which
// two starts can share and a clock can turn back.
func createEventFile(dir string, now time.Time) (*os.File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	second := now.Unix()
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), eventsPrefix)
		digits, _, _ := strings.Cut(rest, ".")
		if s, err := strconv.ParseInt(digits, 10, 64); ok && err == nil && s >= second {
			second = s + 1
		}
	}
	host, err := os.Hostname()
	if err != nil || strings.ContainsAny(host, "/\x00") {
		host = "localhost"
	}
	name := fmt.Sprintf("%s%010d.%s.%d.0", eventsPrefix, second, host, os.Getpid())
	return os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}

// Scalars writes values of one step, each as a float32 under its name; "a/b" shows as b in a section a. They are read
// by TensorBoard after the next Flush.
func (t *TensorBoard) Scalars(step int, now time.Time, values iter.Seq2[string, float64]) error {
	if t.err != nil {
		return t.err
	}
	var summary []byte
	for name, x := range values {
		value := protowire.AppendTag(nil, valueTag, protowire.BytesType)
		value = protowire.AppendString(value, name)
		value = protowire.AppendTag(value, valueSimple, protowire.Fixed32Type)
		value = protowire.AppendFixed32(value, math.Float32bits(float32(x)))
		summary = protowire.AppendTag(summary, summaryValue, protowire.BytesType)
		summary = protowire.AppendBytes(summary, value)
	}
	if len(summary) > 0 {
		event := protowire.AppendTag(nil, eventSummary, protowire.BytesType)
		t.event(step, now, protowire.AppendBytes(event, summary))
	}
	return t.err
}

// event writes one record; rest are the event's fields beside time and step.
func (t *TensorBoard) event(step int, now time.Time, rest []byte) {
	body := protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type)
	body = protowire.AppendFixed64(body, math.Float64bits(float64(now.UnixMicro())/1e6))
	body = protowire.AppendTag(body, eventStep, protowire.VarintType)
	body = protowire.AppendVarint(body, uint64(step))
	body = append(body, rest...)

	record := binary.LittleEndian.AppendUint64(nil, uint64(len(body)))
	record = binary.LittleEndian.AppendUint32(record, maskedCRC(record))
	record = append(record, body...)
	record = binary.LittleEndian.AppendUint32(record, maskedCRC(body))
	_, err := t.out.Write(record)
	t.fail(err)
}

// fail keeps the first error.
func (t *TensorBoard) fail(err error) {
	if t.err == nil && err != nil {
		t.err = fmt.Errorf("tensorboard: %s: %w", t.file.Name(), err)
	}
}

// Flush hands everything to the operating system, so that a running TensorBoard shows it. An error stays.
func (t *TensorBoard) Flush() error {
	if t.err == nil {
		t.fail(t.out.Flush())
	}
	return t.err
}

// Close flushes and closes the file. Further calls of any method return an error.
func (t *TensorBoard) Close() error {
	err := t.Flush()
	err = errors.Join(err, t.file.Close())
	t.fail(fs.ErrClosed)
	return err
}
