package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"sluice/internal/fault"
	"sluice/internal/message"
	"sluice/internal/sqs"
)

type sendCmd struct {
	File       string `arg:"" help:"File with one body a line; - for standard input. It may be compressed by gzip."`
	QueueURL   string `name:"to" placeholder:"URL" help:"The queue; SQS_URL when it is not given."`
	Group      string `xor:"group" placeholder:"ID" help:"Message group of all messages. A FIFO queue needs a group."`
	GroupField string `xor:"group" placeholder:"NAME" help:"Take the group of each message from this field of its body."`
	Dedup      string `enum:"line,content,unique" default:"line" help:"Deduplication id on a FIFO queue, which takes equal ids once in 5 minutes: a hash of the body and its line number (line), so that equal lines all arrive, and a file that is sent again does not; of the body (content), so that equal lines arrive once; or a new one each time (unique)."`
	JSON       bool   `help:"Print JSON in place of a sentence."`
}

// Help says more than one line.
func (sendCmd) Help() string {
	return `Lines are sent as they are; empty lines are skipped. The exit code is 1 when a line was not sent: its number goes to
standard error, and its text does not.

A FIFO queue keeps every line, equal ones too, and nothing of a file that is sent again within 5 minutes: its lines have
the same numbers then. --dedup says otherwise. Lines that a queue confirms and does not keep, since one before them was
equal, are counted.

The id of a group is in clear in SQS, whatever encrypts the queue: take a field that tells nothing of a person.

  sluice send bodies.jsonl.gz
  sluice send - --group-field user_id < bodies.jsonl`
}

// sendSummary is what became of the lines.
type sendSummary struct {
	Queue   string `json:"queue"`
	Lines   int    `json:"lines"`
	Empty   int    `json:"empty"`
	Sent    int    `json:"sent"`
	Unsent  int    `json:"unsent"`
	Numbers []int  `json:"unsent_lines,omitzero"` // the first of them
	// Repeated are those of Sent that a FIFO queue confirmed and did not keep,
	// since a line before them had the same deduplication id.
	Repeated int `json:"repeated,omitzero"`
	// Complete is false when the input was not read to its end.
	Complete bool `json:"complete"`
}

// What is read ahead: so many lines, so many bytes, or what comes in so long.
const (
	sendChunk      = 500
	sendChunkBytes = 8 << 20
	sendLinger     = 200 * time.Millisecond
	maxNumbers     = 20
)

// Run implements the command.
func (c *sendCmd) Run(ctx context.Context, con *console) error {
	parts, _ := con.load() // what is wrong with the rest of the configuration does not matter here
	q, err := con.openQueue(ctx, parts, c.QueueURL, "SQS_URL", "--to")
	if err != nil {
		return err
	}
	if q.FIFO && c.Group == "" && c.GroupField == "" {
		return errors.New("a FIFO queue needs a message group; give --group ID, or --group-field NAME for a field of each body")
	}
	s := &sender{sendCmd: c, queue: q, stopped: map[string]bool{}, sum: sendSummary{Queue: shownURL(q.URL)}}
	in, err := orStopped(ctx, func() (*input, error) { return con.input(c.File) })
	switch {
	case errors.Is(err, errStopped):
		return s.report(con, err)
	case err != nil:
		return err
	}
	defer in.close()
	bar := con.progress("sending")
	err = s.all(ctx, in, bar)
	bar.end()
	return s.report(con, err)
}

// sender sends lines in chunks.
type sender struct {
	*sendCmd
	queue   *sqs.Queue
	out     []sqs.Outgoing
	numbers []int // of the lines in out
	bytes   int
	// stopped are the groups of a FIFO queue that a message was not sent of:
	// what follows must not be ahead of it.
	stopped map[string]bool
	repeats repeats
	sum     sendSummary
	// why has the gravest errors, each once.
	why []string
}

// all sends the lines of an input. What has come is sent when a chunk is full,
// and soon also when it is not: a log that is followed has no end.
func (s *sender) all(ctx context.Context, in *input, bar *progress) error {
	wanted, enough := context.WithCancel(ctx)
	defer enough()
	lines := in.lines(wanted)
	var late <-chan time.Time // for what is in the chunk
	flush := func() error {
		late = nil
		err := s.flush(ctx)
		bar.set(s.sum.Sent, 0)
		return err
	}
	for {
		var next line
		select {
		case <-ctx.Done():
			return flush()
		case <-late:
			if err := flush(); err != nil {
				return err
			}
			continue
		case next = <-lines:
		}
		switch {
		case errors.Is(next.err, io.EOF):
			s.sum.Complete = true
			return flush()
		case next.err != nil && !errors.Is(next.err, errTooLong):
			return errors.Join(flush(), in.problem(s.sum.Lines+1, next.err))
		}
		s.sum.Lines++
		switch {
		case next.err != nil:
			s.refuse(s.sum.Lines, next.err.Error())
			s.stop(s.Group)
		case len(bytes.TrimSpace(next.text)) == 0:
			s.sum.Empty++
		default:
			s.add(next.text)
		}
		switch {
		case len(s.out) == sendChunk || s.bytes >= sendChunkBytes:
			if err := flush(); err != nil {
				return err
			}
		case len(s.out) > 0 && late == nil:
			late = time.After(sendLinger)
		}
	}
}

// add puts a line into the chunk.
func (s *sender) add(line []byte) {
	m := sqs.Outgoing{Body: line, Group: s.Group}
	if s.GroupField != "" {
		m.Group = groupOf(line, s.GroupField)
	}
	switch {
	case !takes(line):
		s.refuse(s.sum.Lines, errCharacters.Error())
		s.stop(m.Group)
		return
	case s.GroupField != "" && m.Group == "":
		s.refuse(s.sum.Lines, "the body has no text in the field of --group-field")
		return
	case s.stopped[m.Group]:
		s.refuse(s.sum.Lines, "an earlier message of the group was not sent")
		return
	}
	if s.queue.FIFO {
		m.DeduplicationID = s.deduplicationID(line)
	}
	s.out, s.numbers, s.bytes = append(s.out, m), append(s.numbers, s.sum.Lines), s.bytes+len(line)
}

// stop sends no more of a group, where its order matters.
func (s *sender) stop(group string) {
	if s.queue.FIFO && group != "" {
		s.stopped[group] = true
	}
}

func (s *sender) deduplicationID(line []byte) string {
	switch s.Dedup {
	case "unique":
		return rand.Text()
	case "line":
		line = append([]byte(strconv.Itoa(s.sum.Lines)+"\n"), line...)
	}
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// groupOf is the text of a field of a body, "" when there is none.
func groupOf(body []byte, field string) string {
	var members map[string]any
	if json.Unmarshal(body, &members) != nil { // its error quotes the body
		return ""
	}
	text, _ := members[field].(string)
	return text
}

// flush sends the chunk. An error says that sending more is of no use.
func (s *sender) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		s.refuseAll()
		return err
	}
	unsent, err := s.queue.Send(ctx, s.out)
	s.sum.Sent += len(s.out) - len(unsent)
	s.countRepeats(unsent)
	for _, i := range unsent {
		s.refuse(s.numbers[i], "")
		s.stop(s.out[i].Group)
	}
	s.out, s.numbers, s.bytes = s.out[:0], s.numbers[:0], 0
	if e := fault.Of(err); e != nil && e.Cause == message.CauseUnsent {
		s.because(err.Error()) // these lines' own fault
		err = nil
	}
	return err
}

// countRepeats counts what of the chunk SQS has confirmed without keeping it.
// Only by content do two lines of a run have the same id. They have the same
// group then, which is that of all lines or comes from the body: so it is of no
// matter whether the queue tells ids apart by group.
func (s *sender) countRepeats(unsent []int) {
	if !s.queue.FIFO || s.Dedup != "content" {
		return
	}
	now := time.Now()
	for i := range s.out {
		if !slices.Contains(unsent, i) && s.repeats.take(s.out[i].DeduplicationID, now) {
			s.sum.Repeated++
		}
	}
}

func (s *sender) refuseAll() {
	for _, n := range s.numbers {
		s.refuse(n, "")
	}
	s.out, s.numbers = nil, nil
}

func (s *sender) refuse(number int, why string) {
	s.sum.Unsent++
	if len(s.sum.Numbers) < maxNumbers {
		s.sum.Numbers = append(s.sum.Numbers, number)
	}
	s.because(why)
}

func (s *sender) because(why string) {
	if why != "" && !slices.Contains(s.why, why) && len(s.why) < maxNumbers {
		s.why = append(s.why, why)
	}
}

func (s *sender) report(con *console, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, errStopped) {
		err = fmt.Errorf("%w; what follows was not sent", errStopped)
	}
	if err != nil {
		s.sum.Complete = false
	}
	if s.JSON {
		if jsonErr := con.printJSON(s.sum, nil); jsonErr != nil {
			return jsonErr
		}
	} else {
		fmt.Fprintf(con.stdout, "%d of %d lines sent to %s; %d were empty\n", s.sum.Sent, s.sum.Lines, s.sum.Queue, s.sum.Empty)
		if s.sum.Repeated > 0 {
			fmt.Fprintf(con.stdout, "%d of those sent repeat a line before them, and a FIFO queue keeps one of each in 5 minutes; --dedup line keeps them all\n", s.sum.Repeated)
		}
	}
	if s.sum.Unsent > 0 {
		numbers := make([]string, len(s.sum.Numbers))
		for i, n := range s.sum.Numbers {
			numbers[i] = strconv.Itoa(n)
		}
		more := ""
		if n := s.sum.Unsent - len(numbers); n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		fmt.Fprintf(con.stderr, "sluice: not sent: line %s%s\n", strings.Join(numbers, ", "), more)
		for _, why := range s.why {
			fmt.Fprintf(con.stderr, "sluice: %s\n", why)
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("after line %d: %w", s.sum.Lines, err)
	case s.sum.Unsent > 0:
		return errReported
	default:
		return nil
	}
}
