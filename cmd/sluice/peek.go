package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/deadletters"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
)

type peekCmd struct {
	QueueURL string `arg:"" optional:"" name:"queue-url" help:"The queue; default: DEAD_LETTER_QUEUE_URL."`
	Max      int    `default:"100" placeholder:"N" help:"Show at most this many messages (${default}); 0 for all."`
	Raw      bool   `help:"Show bodies as they were sent, with the personal values in them."`
	Force    bool   `help:"Also when the queue has a redrive policy, of which each look at a message costs one receive."`
	JSON     bool   `help:"Print JSON instead of tables."`
}

// Help returns the details.
func (peekCmd) Help() string {
	return `Shows how many messages there are and for which reasons, and of each message what the model reads, field by field:
personal fields masked, and which field is the problem and why. Of a body that cannot be read it shows only the reason
and the size, and likewise of a body that another model rejected: only that model knows what is personal in it. A body
that SQS moved here from another queue than SQS_URL is shown if the model accepts it. Of a body with several problems
it counts the first. Of a FIFO queue it shows at most ten messages per group.

A message is shown by the id that the function's logs have. One that sluice has sent here has another id in this
queue. Long values are shortened, and end in … then; --json has them whole.

SQS cannot show messages without a receive. So they are invisible to others while the command runs. All are returned
when it ends, also after an interrupt.

  sluice peek
  sluice peek --json --max 0 | jq .reasons`
}

// Validate implements kong's check of the arguments.
func (c *peekCmd) Validate() error {
	if c.Max < 0 {
		return errors.New("--max must be 0 (all) or more")
	}
	return nil
}

// peeked is what the command shows of a queue.
type peeked struct {
	Queue    string          `json:"queue"`
	Visible  int             `json:"visible"`
	InFlight int             `json:"in_flight"`
	Delayed  int             `json:"delayed"`
	Looked   int             `json:"looked_at"`
	Kept     int             `json:"not_given_back"`
	Reasons  []peekedReason  `json:"reasons"`
	Messages []peekedMessage `json:"messages"`
}

type peekedReason struct {
	Reason     message.Reason `json:"reason"`
	Field      string         `json:"field,omitzero"`
	Detail     string         `json:"detail,omitzero"`
	SQLState   string         `json:"sqlstate,omitzero"`
	Constraint string         `json:"constraint,omitzero"`
	Column     string         `json:"column,omitzero"`
	Model      string         `json:"model,omitzero"`
	Messages   int            `json:"messages"`
	Means      string         `json:"means"`
}

func (r *peekedReason) where() string {
	switch {
	case r.Field != "":
		return r.Field
	case r.Constraint != "":
		return "constraint " + r.Constraint
	case r.Column != "":
		return "column " + r.Column
	default:
		return ""
	}
}

type peekedMessage struct {
	// ID is the message's id in this queue, MessageID the one that the logs have: what sluice sends to
	// a dead-letter queue gets another id there.
	ID        string         `json:"id"`
	MessageID string         `json:"message_id"`
	FirstSent *time.Time     `json:"first_sent,omitzero"`
	Receives  int            `json:"receives"`
	Reason    message.Reason `json:"reason"`
	Field     string         `json:"field,omitzero"`
	Detail    string         `json:"detail,omitzero"`
	Byte      int            `json:"byte,omitzero"` // see message.Rejection
	// Problems are all of the body, the first one too, if it has several; Omitted is how many others
	// the note has left out.
	Problems []sqs.Problem `json:"problems,omitzero"`
	Omitted  int           `json:"omitted,omitzero"`
	// Model rejected the message; "" when that is not known, or when none took it.
	Model string `json:"model,omitzero"`
	// Now is the model that takes the body, if there are several.
	Now   string `json:"taken_by,omitzero"`
	Bytes int    `json:"bytes"`
	// Columns are the row that the body would become, or Rows its rows, for a model whose messages may
	// have several; nil when the model rejects it.
	Columns map[string]jsontext.Value `json:"columns,omitzero"`
	Rows    []messageRow              `json:"rows,omitzero"`
	// Fields are what the model reads of the body; nil when it cannot be read.
	Fields []peekedField `json:"fields,omitzero"`
	// Unreadable is why there are no rows.
	Unreadable string `json:"unreadable,omitzero"`
	Body       string `json:"body,omitzero"`

	// For the screen: the reason in short, and why there are no fields.
	why, unshown string
	again        bool // unshown says what the note says
}

// reason returns the reason in short: "wrong_type amount, 2 more".
func (m *peekedMessage) reason(n *sqs.Note) string {
	why := message.Rejection{Reason: m.Reason, Field: m.Field}
	if n != nil {
		why.SQLState, why.Constraint, why.Column = n.SQLState, n.Constraint, n.Column
	}
	if more := max(len(m.Problems)-1, 0) + m.Omitted; more > 0 {
		return fmt.Sprintf("%s, %d more", why, more)
	}
	return why.String()
}

// Run implements the command.
func (c *peekCmd) Run(ctx context.Context, con *console) error {
	parts, err := con.load()
	if err != nil {
		return err
	}
	q, err := con.openQueue(ctx, parts, c.QueueURL, "DEAD_LETTER_QUEUE_URL", "QUEUE_URL")
	if err != nil {
		return err
	}
	if q.Settings.DeadLetterARN != "" && !c.Force {
		return errForce(q.URL)
	}
	cfg := parts.Config
	var keys *mask.Keyring // nil when masks are not configured
	switch {
	case cfg.Keys != nil, cfg.MaskSecretARN != "":
		keys, err = parts.Keys(ctx)
	case !cfg.Models.Masks():
		keys = mask.Unkeyed() // for nothing
	}
	if err != nil {
		return err
	}
	client, err := parts.SQS(ctx)
	if err != nil {
		return err
	}
	bar := con.progress("receiving")
	seen, err := deadletters.Peek(ctx, q, c.Max, bar.set)
	bar.end()
	if errors.Is(err, context.Canceled) {
		err = errStopped
	}
	if err != nil && len(seen.Messages) == 0 {
		return err
	}
	p := &peeked{
		Queue: shownURL(q.URL), Visible: q.Counts.Visible, InFlight: q.Counts.InFlight, Delayed: q.Counts.Delayed,
		Looked: len(seen.Messages), Kept: seen.Unreturned, Reasons: []peekedReason{}, Messages: []peekedMessage{},
	}
	read := fieldReader{set: cfg.Models, own: func(queueARN string) bool { return client.IsQueue(con.environ["SQS_URL"], queueARN) }}
	if keys != nil {
		read.reader = cfg.Models.Reader(keys)
	}
	p.read(&read, &seen, c.Raw)
	if c.Raw {
		fmt.Fprintln(con.stderr, con.styled(con.stderr, boldRed, "These are raw bodies, with personal values: keep them out of tickets, chats and files."))
	}
	if c.JSON {
		return con.printJSON(p, err)
	}
	c.print(con, p, q.FIFO, keys != nil)
	return err
}

// read describes the messages, the oldest first.
func (p *peeked) read(r *fieldReader, seen *deadletters.Peeked, raw bool) {
	for i := range seen.Messages {
		in := &seen.Messages[i]
		p.count(in)
		out := peekedMessage{ID: in.ID, MessageID: in.ID, Receives: in.ReceiveCount, Reason: deadletters.Reason(in), Bytes: len(in.Body)}
		if at, ok := deadletters.FirstSent(in); ok {
			out.FirstSent = &at
		}
		if n := in.Note; n != nil {
			out.MessageID = cmp.Or(n.MessageID, in.ID)
			out.Field, out.Detail, out.Byte, out.Model, out.Problems, out.Omitted = n.Field, n.Detail, n.Byte, n.Model, n.Problems, n.Omitted
		}
		out.why = out.reason(in.Note)
		r.read(&out, in)
		if raw {
			out.Body = string(in.Body)
		}
		p.Messages = append(p.Messages, out)
	}
	slices.SortStableFunc(p.Messages, func(x, y peekedMessage) int {
		if x.FirstSent == nil || y.FirstSent == nil {
			return 0
		}
		return cmp.Or(x.FirstSent.Compare(*y.FirstSent), cmp.Compare(x.MessageID, y.MessageID))
	})
	slices.SortStableFunc(p.Reasons, func(x, y peekedReason) int {
		return cmp.Or(cmp.Compare(y.Messages, x.Messages), cmp.Compare(x.Reason, y.Reason), cmp.Compare(x.where(), y.where()), cmp.Compare(x.Detail, y.Detail))
	})
}

func (p *peeked) count(in *sqs.Received) {
	r := peekedReason{Reason: deadletters.Reason(in), Means: deadletters.Explain(deadletters.Reason(in))}
	if n := in.Note; n != nil {
		r.Field, r.Detail, r.SQLState, r.Constraint, r.Column, r.Model = n.Field, check.AnyRow(n.Detail), n.SQLState, n.Constraint, n.Column, n.Model
	}
	i := slices.IndexFunc(p.Reasons, func(known peekedReason) bool {
		known.Messages = 0
		return known == r
	})
	if i < 0 {
		i, p.Reasons = len(p.Reasons), append(p.Reasons, r)
	}
	p.Reasons[i].Messages++
}

func (c *peekCmd) print(con *console, p *peeked, fifo, masks bool) {
	con.say("%s: %s visible, %s in flight, %s delayed; %s.",
		p.Queue, many(p.Visible, "message"), number(p.InFlight), number(p.Delayed), c.part(p, fifo))
	if p.Kept > 0 {
		fmt.Fprintf(con.stderr, "sluice: %d messages could not be returned; they reappear when their visibility timeout expires\n", p.Kept)
	}
	if p.Looked == 0 {
		return
	}
	fmt.Fprintln(con.stdout)
	t := con.table("reason", "where", "model", "messages", "which means")
	for _, r := range p.Reasons {
		means := cmp.Or(r.Detail, r.Means)
		if r.SQLState != "" {
			means += ": " + message.SQLState(r.SQLState)
		}
		t.row(r.Reason, r.where(), r.Model, r.Messages, prose(means))
	}
	t.print()
	shortened := false
	for i := range p.Messages {
		fmt.Fprintln(con.stdout)
		shortened = p.Messages[i].describe(con, c.Raw) || shortened
	}
	if shortened {
		fmt.Fprintln(con.stdout)
		con.say("What ends in … is shortened; --json has it whole.")
	}
	if !masks && !c.Raw {
		fmt.Fprintln(con.stdout)
		con.say("Bodies are not shown, because masks are not configured. Set SLUICE_MASK_KEYS as the function has it.")
	}
}

// part says how many of the messages are shown, and how to see the others.
func (c *peekCmd) part(p *peeked, fifo bool) string {
	all := max(p.Visible+p.InFlight+p.Delayed, p.Looked)
	if p.Looked == all {
		return "all shown"
	}
	part := number(p.Looked) + " of " + many(all, "message") + " shown; "
	switch {
	case c.Max > 0 && p.Looked == c.Max:
		return part + "--max 0 shows all"
	case fifo:
		return part + "the others are in flight, delayed, or after the first ten of their group"
	default:
		return part + "the others are in flight or delayed"
	}
}

// describe prints a message, and reports whether a value is shortened.
func (m *peekedMessage) describe(con *console, raw bool) (shortened bool) {
	con.say("message %s: %s", m.MessageID, m.why)
	about := []string{"received " + times(m.Receives), many(m.Bytes, "byte")}
	if m.FirstSent != nil {
		about = slices.Insert(about, 0, "first sent "+m.FirstSent.Format(time.RFC3339))
	}
	if m.MessageID != m.ID {
		about = append(about, "here its id is "+m.ID)
	}
	switch {
	case m.Now != "" && m.Model != "" && m.Now != m.Model:
		about = append(about, "rejected by the model "+m.Model+", and "+m.Now+" takes it now")
	case m.Now != "":
		about = append(about, "the model "+m.Now+" takes it")
	}
	con.say("  %s", strings.Join(about, ", "))
	switch {
	case raw:
		fmt.Fprintf(con.stdout, "  body: %s\n", oneLine(m.Body)) // no word of it is moved
		return false
	case m.Fields == nil:
		problems := m.Problems
		if problems == nil && (m.Detail != "" || m.Byte > 0) && !m.again {
			problems = []sqs.Problem{{Reason: m.Reason, Field: m.Field, Detail: m.Detail}}
		}
		for _, p := range problems {
			why := message.Rejection{Reason: p.Reason, Field: p.Field, Detail: p.Detail}
			if p.Reason == m.Reason && p.Field == "" {
				why.Byte = m.Byte
			}
			con.say("  %s", said(why))
		}
		if m.unshown != "" {
			con.say("  the body %s", m.unshown)
		}
		return false
	}
	if m.Field == "" && m.Detail != "" { // which row the database refused
		con.say("  %s", oneLine(m.Detail))
	}
	headings := []string{"field", "value", "problem"}
	if !slices.ContainsFunc(m.Fields, func(f peekedField) bool { return f.problem() != "" }) {
		headings = headings[:2]
	}
	t := con.table(headings...)
	var absent []string
	for i := range m.Fields {
		f := &m.Fields[i]
		if !f.shown() {
			continue
		}
		if f.text == "" && f.problem() == "" {
			absent = append(absent, f.name())
			continue
		}
		value := f.text
		switch {
		case f.Masked:
			value = shorten(f.text, maskShown) + " (masked)"
			shortened = true
		case f.Hidden == "":
			value = shorten(f.text, mostShown)
			shortened = shortened || value != f.text
		}
		t.row([]any{f.name(), value, prose(f.problem())}[:len(headings)]...)
	}
	if len(absent) < len(m.Fields) {
		fmt.Fprintln(con.stdout)
		t.print()
	}
	if absent != nil {
		con.say(" absent: %s", strings.Join(absent, ", "))
	}
	if n := m.unshownRows(); n > 0 {
		con.say(" and %s; --json has them", many(n, "more row"))
	}
	return shortened
}

// unshownRows counts the rows of which the screen has no field.
func (m *peekedMessage) unshownRows() int {
	type row struct {
		table string
		row   int
	}
	all, shown := map[row]bool{}, map[row]bool{}
	for i := range m.Fields {
		f := &m.Fields[i]
		all[row{f.Table, f.Row}] = true
		if f.shown() {
			shown[row{f.Table, f.Row}] = true
		}
	}
	return len(all) - len(shown)
}

// How many characters the screen has of a value, and of a mask: enough to tell two of them apart.
const (
	mostShown = 32
	maskShown = 12
)

// times says how often.
func times(n int) string {
	if n == 1 {
		return "once"
	}
	return number(n) + " times"
}

// shorten returns the first n characters of a text, with … if there are more.
func shorten(text string, n int) string {
	for i := range text {
		if n--; n < 0 {
			return text[:i] + "…"
		}
	}
	return text
}
