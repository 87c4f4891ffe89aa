package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/owner/sluice/internal/deadletters"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
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
	return `Shows how many messages there are, for which reasons, and their bodies as the model would store them: masked. Of a body
that the model cannot read it shows only the reason and the size, and likewise of a body that another model rejected:
only that model knows what is personal in it. Of a body with several problems it counts the first; --json lists all.
Of a FIFO queue it shows at most ten messages per group.

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
	ID        string         `json:"id"`
	FirstSent *time.Time     `json:"first_sent,omitzero"`
	Receives  int            `json:"receives"`
	Reason    message.Reason `json:"reason"`
	Field     string         `json:"field,omitzero"`
	Detail    string         `json:"detail,omitzero"`
	// Problems are all of the body, the first one too, if it has several; Omitted is how many others
	// the note has left out.
	Problems []sqs.Problem `json:"problems,omitzero"`
	Omitted  int           `json:"omitted,omitzero"`
	// Model rejected the message; "" when that is not known.
	Model string `json:"model,omitzero"`
	Bytes int    `json:"bytes"`
	// Columns are the row that the body would become; nil when the model cannot read it.
	Columns map[string]string `json:"columns,omitzero"`
	// Unreadable is why not.
	Unreadable string `json:"unreadable,omitzero"`
	Body       string `json:"body,omitzero"`
}

// why returns the reason in short: "wrong_type amount, 2 more".
func (m *peekedMessage) why() string {
	why := strings.TrimSpace(string(m.Reason) + " " + m.Field)
	if more := max(len(m.Problems)-1, 0) + m.Omitted; more > 0 {
		why += fmt.Sprintf(", %d more", more)
	}
	return why
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
	if cfg.Keys != nil || cfg.MaskSecretARN != "" {
		keys, err = parts.Keys(ctx)
	}
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
	p := c.read(q, &seen, cfg.Model, keys)
	if c.Raw {
		fmt.Fprintln(con.stderr, con.styled(con.stderr, boldRed, "These are raw bodies, with personal values: keep them out of tickets, chats and files."))
	}
	if c.JSON {
		return con.printJSON(p, err)
	}
	c.print(con, p, cfg.Model, keys != nil)
	return err
}

// read describes the messages as the model reads them.
func (c *peekCmd) read(q *sqs.Queue, seen *deadletters.Peeked, m *model.Model, keys *mask.Keyring) *peeked {
	p := &peeked{
		Queue: shownURL(q.URL), Visible: q.Counts.Visible, InFlight: q.Counts.InFlight, Delayed: q.Counts.Delayed,
		Looked: len(seen.Messages), Kept: seen.Unreturned, Reasons: []peekedReason{}, Messages: []peekedMessage{},
	}
	var reader *model.Reader
	if keys != nil {
		reader = m.Reader(keys)
	}
	for i := range seen.Messages {
		in := &seen.Messages[i]
		p.count(in)
		out := peekedMessage{ID: in.ID, Receives: in.ReceiveCount, Reason: deadletters.Reason(in), Bytes: len(in.Body)}
		if at, ok := deadletters.FirstSent(in); ok {
			out.FirstSent = &at
		}
		if in.Note != nil {
			out.Field, out.Detail, out.Model = in.Note.Field, in.Note.Detail, in.Note.Model
			out.Problems, out.Omitted = in.Note.Problems, in.Note.Omitted
		}
		switch {
		case out.Model != "" && out.Model != m.Name:
			out.Unreadable = "rejected by the model " + out.Model + ", and SLUICE_MODEL names another"
		case reader != nil:
			var bad message.Rejection
			if out.Columns, bad = columns(m, reader, &in.Message); !bad.IsZero() {
				out.Unreadable = bad.String()
			}
		}
		if c.Raw {
			out.Body = string(in.Body)
		}
		p.Messages = append(p.Messages, out)
	}
	slices.SortStableFunc(p.Reasons, func(x, y peekedReason) int { return cmp.Compare(y.Messages, x.Messages) })
	return p
}

func (p *peeked) count(in *sqs.Received) {
	r := peekedReason{Reason: deadletters.Reason(in), Means: deadletters.Explain(deadletters.Reason(in))}
	if n := in.Note; n != nil {
		r.Field, r.Detail, r.SQLState, r.Constraint, r.Column, r.Model = n.Field, n.Detail, n.SQLState, n.Constraint, n.Column, n.Model
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

func (c *peekCmd) print(con *console, p *peeked, m *model.Model, masks bool) {
	fmt.Fprintf(con.stdout, "%s: %d messages visible, %d in flight, %d delayed; %d shown.\n", p.Queue, p.Visible, p.InFlight, p.Delayed, p.Looked)
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
	fmt.Fprintln(con.stdout)
	var names []string
	for _, column := range m.Columns {
		if column.Field >= 0 && masks {
			names = append(names, column.Name)
		}
	}
	if c.Raw {
		names = []string{"body"}
	}
	t = con.table(append([]string{"message", "first sent", "receives", "reason", "bytes"}, names...)...)
	for _, msg := range p.Messages {
		sent := ""
		if msg.FirstSent != nil {
			sent = msg.FirstSent.Format(time.RFC3339)
		}
		cells := []any{msg.ID, sent, msg.Receives, msg.why(), msg.Bytes}
		for _, name := range names {
			value, ok := msg.Columns[name]
			switch {
			case c.Raw:
				value = msg.Body
			case !ok:
				value = "·"
			default:
				value = short(value)
			}
			cells = append(cells, value)
		}
		t.row(cells...)
	}
	t.print()
	if !masks && !c.Raw {
		fmt.Fprintln(con.stdout, "\nBodies are not shown, because masks are not configured. Set SLUICE_MASK_KEYS as the function has it.")
	}
}
