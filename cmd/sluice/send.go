package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqs"
)

type sendCmd struct {
	File       string `arg:"" completion-predictor:"file" help:"File with one body per line; - for standard input. It may be compressed with gzip."`
	QueueURL   string `name:"to" placeholder:"URL" help:"The queue; default: SQS_URL."`
	Group      string `xor:"group" placeholder:"ID" help:"Message group of all messages. A FIFO queue needs a group."`
	GroupField string `xor:"group" placeholder:"NAME" help:"Take the group of each message from this field of its body, a text or an integer."`
	Dedup      string `enum:"line,content,unique" default:"line" help:"Deduplication id on a FIFO queue, which keeps one message per id in 5 minutes: a hash of the body and its line number (line), so that equal lines all arrive, and a file that is sent again does not; of the body (content), so that equal lines arrive once; or a new one each time (unique)."`
	Raw        bool   `help:"Send lines that are not JSON, and events, too."`
	JSON       bool   `help:"Print the summary as JSON."`
}

// Help returns the details.
func (sendCmd) Help() string {
	return `Lines are sent as they are; empty lines are skipped. When a line is not sent, the exit code is 1, and standard error has
its number, not its text.

A line that is not JSON is not sent, nor is the event of a Lambda function, which is no body. --raw sends both. If the
first step of the model's unwrap is not json (as base64 or gzip), bodies are not JSON, and lines are not checked.

A FIFO queue keeps every line, equal ones too. A file that is sent again within 5 minutes adds nothing: its lines have
the same numbers. --dedup changes that. SQS confirms the lines that it drops as it does others, so
the summary tells only of those that repeat a line of the same run.

Group ids are not encrypted, even in an encrypted queue: choose a field that is not personal.

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
	Numbers []int  `json:"unsent_lines,omitzero"` // the first maxNumbers
	// Repeated counts those of Sent that a FIFO queue confirmed without keeping
	// them, because an earlier line had the same deduplication id.
	Repeated int `json:"repeated,omitzero"`
	// Complete is false when the input was not read to its end.
	Complete bool `json:"complete"`
}

const (
	// A chunk goes to SQS when it has sendChunk lines or sendChunkBytes, and at the
	// latest sendLinger after its first line: an input that is followed, as by
	// tail -f, has no end.
	sendChunk      = 500
	sendChunkBytes = 8 << 20
	sendLinger     = 200 * time.Millisecond

	maxNumbers   = 20      // line numbers and reasons that are printed
	maxLineBytes = 1 << 20 // SQS's limit of a message
	// endlessBytes ends the search for the end of a line: the input is not text
	// with a body per line.
	endlessBytes = 16 << 20
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
	s := &sender{sendCmd: c, queue: q, bar: con.progress("sending"), stopped: map[string]bool{}, sum: sendSummary{Queue: shownURL(q.URL)}}
	notJSON := func(m *model.Model) bool { return !m.ReadsJSON() }
	s.checks = !c.Raw && (parts.Config.Models == nil || !slices.ContainsFunc(parts.Config.Models.Models, notJSON))
	err = s.send(ctx, con)
	s.bar.end()
	return s.report(con, err)
}

// sender sends lines in chunks.
type sender struct {
	*sendCmd
	queue   *sqs.Queue
	bar     *progress
	chunk   []sqs.Outgoing
	numbers []int // the line of each message of chunk
	bytes   int
	// stopped are the groups of which a message was not sent: the order of a
	// FIFO queue forbids to send more of them.
	stopped map[string]bool
	repeats repeats
	// checks: lines must be JSON and no events. odd is that some were not sent for that.
	checks, odd bool
	whole       string // why a file is refused as a whole
	sum         sendSummary
	reasons     []string // why lines were not sent, each once
}

// send sends the lines of the input until its end, or until sending more is of no use.
func (s *sender) send(ctx context.Context, con *console) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	lines := con.lines(reading, s.File)
	first := document{do: s.line, stderr: con.stderr, decided: !s.checks}
	number := 0
	var linger <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return errors.Join(s.flush(ctx), ctx.Err())
		case next := <-lines:
			if next.end != nil {
				first.end()
				s.sum.Lines = number
				s.sum.Complete = errors.Is(next.end, io.EOF)
				if err := s.flush(ctx); err != nil || s.sum.Complete {
					return err
				}
				return next.end
			}
			if number++; len(bytes.TrimSpace(next.text)) == 0 {
				s.sum.Empty++
			} else {
				first.line(number, next.text)
			}
			if first.decided {
				s.sum.Lines = number
			}
			if len(s.chunk) > 0 && linger == nil {
				linger = time.After(sendLinger)
			}
			if len(s.chunk) < sendChunk && s.bytes < sendChunkBytes {
				continue
			}
		case <-linger:
		}
		linger = nil
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
}

// line adds a line to the chunk, and refuses a file that is one document of several lines.
func (s *sender) line(number int, text []byte) {
	if !bytes.ContainsRune(text, '\n') {
		s.add(number, text)
		return
	}
	s.whole = "the file is one JSON document of several lines; `jq -c . " + s.File + " | sluice send -` sends it as one body"
	if n := eventMessages(text); n > 0 {
		s.whole = fmt.Sprintf("the file is %s, and `jq -r '(.Records? // .)[].body' %s | sluice send -` sends its bodies; `jq -c . %[2]s | sluice send --raw -` sends it as one body", isEvent(n, s.File), s.File)
	}
}

// add puts a line into the chunk, or counts it as not sent.
func (s *sender) add(number int, text []byte) {
	m := sqs.Outgoing{Body: text, Group: s.Group}
	if s.GroupField != "" {
		m.Group = groupOf(text, s.GroupField)
	}
	odd := s.refuses(text)
	switch {
	case s.stopped[m.Group]:
		s.unsent(number, m.Group, "an earlier message of the group was not sent")
	case len(text) > maxLineBytes:
		s.unsent(number, m.Group, fmt.Sprintf("a line is longer than the %d bytes that SQS takes", maxLineBytes))
	case !sendable(text):
		s.unsent(number, m.Group, "a line is not valid UTF-8, or has characters that SQS does not take")
	case odd != "":
		s.odd = true
		s.unsent(number, m.Group, fmt.Sprintf("line %d is %s", number, odd))
	case s.GroupField != "" && m.Group == "":
		s.unsent(number, "", "the body has no text and no integer in the field of --group-field")
	default:
		if s.queue.FIFO {
			m.DeduplicationID = s.deduplicationID(number, text)
		}
		s.chunk, s.numbers, s.bytes = append(s.chunk, m), append(s.numbers, number), s.bytes+len(text)
	}
}

// refuses returns what a line is that is no body, "" if it is one or is not checked.
func (s *sender) refuses(text []byte) string {
	if !s.checks {
		return ""
	}
	if why := model.CheckJSON(text); why.Byte > 0 {
		return fmt.Sprintf("not JSON: at byte %d, %s", why.Byte, cmp.Or(why.Detail, "it stops being JSON"))
	}
	if n := eventMessages(text); n > 0 {
		return fmt.Sprintf("%s, and `jq -r '(.Records? // .)[].body' %s | sluice send -` sends its bodies", isEvent(n, s.File), s.File)
	}
	return ""
}

// unsent counts a line that was not sent, and ends its group.
func (s *sender) unsent(number int, group, reason string) {
	s.sum.Unsent++
	if len(s.sum.Numbers) < maxNumbers {
		s.sum.Numbers = append(s.sum.Numbers, number)
	}
	s.because(reason)
	if s.queue.FIFO && group != "" {
		s.stopped[group] = true
	}
}

func (s *sender) because(reason string) {
	if reason != "" && len(s.reasons) < maxNumbers && !slices.Contains(s.reasons, reason) {
		s.reasons = append(s.reasons, reason)
	}
}

// flush sends the chunk. An error means that sending more is of no use.
func (s *sender) flush(ctx context.Context) error {
	unsent, err := s.queue.Send(ctx, s.chunk)
	for i, m := range s.chunk {
		switch {
		case slices.Contains(unsent, i):
			s.unsent(s.numbers[i], m.Group, "")
			continue
		// Only by content do two lines have one id. They are of one group then: the
		// group comes from the body, or is that of all lines.
		case s.queue.FIFO && s.Dedup == "content" && s.repeats.take(m.DeduplicationID, time.Now()):
			s.sum.Repeated++
		}
		s.sum.Sent++
	}
	s.chunk, s.numbers, s.bytes = s.chunk[:0], s.numbers[:0], 0
	s.bar.set(s.sum.Sent, 0)
	if e := fault.Of(err); e != nil && e.Cause == message.CauseUnsent { // it concerns these lines alone
		s.because(err.Error())
		return nil
	}
	return err
}

func (s *sender) deduplicationID(number int, text []byte) string {
	switch s.Dedup {
	case "unique":
		return rand.Text()
	case "line":
		text = append([]byte(strconv.Itoa(number)+"\n"), text...)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// groupOf returns the text of a body's field, or the digits of an integer; "" if it is neither.
func groupOf(body []byte, field string) string {
	var members map[string]jsontext.Value
	if json.Unmarshal(body, &members) != nil { // its error quotes the body
		return ""
	}
	v := members[field]
	switch kind := v.Kind(); {
	case kind == '"':
		text, _ := jsontext.AppendUnquote(nil, v) // it has been read
		return string(text)
	case kind == '0' && !bytes.ContainsAny(v, ".eE"):
		return string(v)
	default:
		return ""
	}
}

// sendable reports whether SQS takes a body: "#x9 | #xA | #xD | #x20 to #xD7FF |
// #xE000 to #xFFFD | #x10000 to #x10FFFF" (SendMessage, SQS API Reference).
func sendable(body []byte) bool {
	return utf8.Valid(body) && !bytes.ContainsFunc(body, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\uFFFE' || r == '\uFFFF'
	})
}

// report prints the summary, and returns why the command fails.
func (s *sender) report(con *console, err error) error {
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%w; what follows was not sent", errStopped)
	}
	s.sum.Complete = s.sum.Complete && err == nil
	if s.whole != "" {
		s.sum.Unsent = s.sum.Lines - s.sum.Empty
	}
	if s.JSON {
		if jsonErr := con.printJSON(s.sum, nil); jsonErr != nil {
			return jsonErr
		}
	} else {
		fmt.Fprintf(con.stdout, "%d of %d lines sent to %s; %d were empty\n", s.sum.Sent, s.sum.Lines, s.sum.Queue, s.sum.Empty)
		if s.queue.FIFO && s.Dedup != "unique" && s.sum.Sent > 0 {
			fmt.Fprintln(con.stdout, "Sent means confirmed: SQS also confirms, and drops, a message whose deduplication id it had in the last 5 minutes, as when a file is sent again")
		}
		if s.sum.Repeated > 0 {
			fmt.Fprintf(con.stdout, "%d of those sent repeat an earlier line: a FIFO queue keeps one of each in 5 minutes; --dedup line keeps them all\n", s.sum.Repeated)
		}
	}
	if s.whole != "" {
		return errors.New(s.whole)
	}
	if s.sum.Unsent > 0 {
		list := strings.ReplaceAll(strings.Trim(fmt.Sprint(s.sum.Numbers), "[]"), " ", ", ")
		if n := s.sum.Unsent - len(s.sum.Numbers); n > 0 {
			list += fmt.Sprintf(" and %d more", n)
		}
		fmt.Fprintf(con.stderr, "sluice: not sent: line %s\n", list)
		for _, reason := range s.reasons {
			fmt.Fprintf(con.stderr, "sluice: %s\n", reason)
		}
		if s.odd {
			fmt.Fprintln(con.stderr, "sluice: --raw sends lines that are not JSON, and events, too")
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

// line is a line of an input, or why there are no more: io.EOF at the input's end.
type line struct {
	text []byte
	end  error
}

// lines reads the lines of a file, or of standard input for "-". It opens and
// reads beside its caller, which may be stopped while a FIFO blocks either.
func (con *console) lines(ctx context.Context, path string) <-chan line {
	out := make(chan line)
	put := func(l line) bool {
		select {
		case out <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		in, name := con.stdin, "standard input"
		if err := fileName(path); err != nil {
			put(line{end: err})
			return
		}
		if path == "-" {
			con.awaitInput()
		} else {
			f, err := os.Open(path)
			if err != nil {
				put(line{end: err})
				return
			}
			defer f.Close()
			in, name = f, path
		}
		end := io.EOF
		if err := scan(in, func(text []byte) bool { return put(line{text: text}) }); err != nil {
			end = fmt.Errorf("%s: %w", name, err)
		}
		put(line{end: end})
	}()
	return out
}

// scan gives each line of a text, or of a gzip file of a text, until put returns
// false. Of a line that a read error cuts off it gives nothing.
func scan(in io.Reader, put func(text []byte) bool) error {
	buffered := bufio.NewReader(in)
	in = buffered
	if magic, _ := buffered.Peek(2); string(magic) == "\x1f\x8b" { // an error comes again with the first line
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return readProblem(err)
		}
		in = unzipped
	}
	scanner, cut := bufio.NewScanner(in), false
	scanner.Buffer(nil, endlessBytes)
	scanner.Split(func(data []byte, atEnd bool) (int, []byte, error) {
		cut = atEnd && !bytes.ContainsRune(data, '\n')
		return bufio.ScanLines(data, atEnd)
	})
	for scanner.Scan() {
		if cut && scanner.Err() != nil || !put(bytes.Clone(scanner.Bytes())) {
			break
		}
	}
	return readProblem(scanner.Err())
}

// readProblem explains an error of reading an input.
func readProblem(err error) error {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	file, ofFile := errors.AsType[*fs.PathError](err)
	switch {
	case ofFile:
		return file.Err // the path is said already
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("the next line has no end within %d bytes: this is not text with one body per line", endlessBytes)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("the gzip file is cut off")
	case corrupt, errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return errors.New("the gzip file is damaged")
	default:
		return err
	}
}
