package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/internal/config"
	"sluice/internal/deadletters"
	"sluice/internal/message"
)

type redriveCmd struct {
	From      string        `placeholder:"URL" help:"The dead-letter queue; DEAD_LETTER_QUEUE_URL when it is not given."`
	To        string        `placeholder:"URL" help:"The queue that the messages came from; SQS_URL when it is not given."`
	Reason    []string      `placeholder:"WORD" help:"Only messages that are there for one of these reasons; peek shows them."`
	OlderThan time.Duration `placeholder:"DURATION" help:"Only messages that were first sent longer ago, as in 36h."`
	NewerThan time.Duration `placeholder:"DURATION" help:"Only messages that were first sent less long ago."`
	Max       int           `placeholder:"N" help:"Send this many at most."`
	AnySource bool          `help:"Also messages that SQS moved from another queue than --to, or that another model than SLUICE_MODEL has rejected."`
	Force     bool          `help:"Also when --from has a redrive policy of its own: to look at a message costs it a receive."`
	DryRun    bool          `help:"Look and count, and send nothing."`
	JSON      bool          `help:"Print JSON in place of a table."`
}

// Help says more than one line.
func (redriveCmd) Help() string {
	return `Each message is sent with its attributes and its group, and without sluice's note; it is deleted from the dead-letter
queue when SQS has confirmed that it took it, ten at a time. So none is lost. Two things can leave messages in both
queues, and the next redrive would send those again: kill -9, which leaves up to 10; and an answer of SQS that is lost,
after which nothing is repeated and the messages are named. A model whose key is in the body (as orders) still stores
them once, and a FIFO queue takes them once if that is within 5 minutes.

A dead-letter queue may be that of several queues. What SQS moved from another queue than --to stays there, and so does
what was rejected by another model than SLUICE_MODEL; --any-source takes both.

Messages that are not meant are given back when the command ends, and those that came after its start are left alone.
Those that are in flight are not seen: repeat it when they are back. An interrupt ends it after the messages that are
under way.

  sluice redrive --dry-run
  sluice redrive --reason refused_by_database --newer-than 48h`
}

// Validate implements kong's check of the arguments.
func (c *redriveCmd) Validate() error {
	for _, r := range c.Reason {
		if !slices.Contains(deadletters.Reasons(), message.Reason(r)) {
			var known []string
			for _, k := range deadletters.Reasons() {
				known = append(known, string(k))
			}
			return fmt.Errorf("--reason: there is no %q; there are %s", r, strings.Join(known, ", "))
		}
	}
	switch {
	case c.OlderThan < 0 || c.NewerThan < 0:
		return errors.New("--older-than and --newer-than are durations above zero, as in 36h")
	case c.OlderThan > 0 && c.NewerThan > 0 && c.OlderThan >= c.NewerThan:
		return errors.New("nothing is older than --older-than and newer than --newer-than")
	case c.Max < 0:
		return errors.New("--max is a number above zero")
	}
	return nil
}

// Run implements the command.
func (c *redriveCmd) Run(ctx context.Context, con *console) error {
	parts, _ := con.load() // what is wrong with the rest of the configuration does not matter here
	from, err := con.openQueue(ctx, parts, c.From, "DEAD_LETTER_QUEUE_URL", "--from")
	if err != nil {
		return err
	}
	to, err := con.openQueue(ctx, parts, c.To, "SQS_URL", "--to")
	if err != nil {
		return err
	}
	model := c.model(con, parts.Config)
	bar := con.progress("looking at")
	r := deadletters.Redrive{
		From: from, To: to, Select: deadletters.Selection{OlderThan: c.OlderThan, NewerThan: c.NewerThan},
		Max: c.Max, Model: model, AnySource: c.AnySource, DryRun: c.DryRun, Progress: bar.set,
	}
	for _, reason := range c.Reason {
		r.Select.Reasons = append(r.Select.Reasons, message.Reason(reason))
	}
	if from.Settings.DeadLetterARN != "" && !c.Force && from.Settings.ARN != to.Settings.ARN {
		return errForce(from.URL)
	}
	s, err := r.Run(ctx)
	bar.end()
	if errors.Is(err, deadletters.ErrSameQueue) {
		return fmt.Errorf("%w: a message would be sent to the queue that it is in; set DEAD_LETTER_QUEUE_URL (or --from) to the dead-letter queue and SQS_URL (or --to) to the queue that it came from", err)
	}
	if printErr := c.print(con, &s, shownURL(from.URL), shownURL(to.URL), model); printErr != nil {
		return printErr
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("stopped; what is left is in the dead-letter queue")
	}
	return prefixed(errors.Join(err, s.Err()))
}

// model is the name of the configured model. Without it messages can still be
// taken back, and those of another model cannot be told from the others.
func (c *redriveCmd) model(con *console, cfg *config.Config) string {
	switch {
	case cfg.Model != nil:
		return cfg.Model.Name
	case !c.AnySource:
		fmt.Fprintln(con.stderr, "sluice: the model of SLUICE_MODEL cannot be read, so messages that another model has rejected are not told from the others; `sluice schema` says what is wrong with it")
	}
	return ""
}

// prefixed makes each of several errors that are joined begin as the first does.
func prefixed(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "\nsluice: "))
}

// errForce refuses to look into a queue that counts receives.
func errForce(queueURL string) error {
	return fmt.Errorf("%s has a redrive policy: to look at a message costs it one of the receives that the policy allows, and may move it away; give --force if that is meant", shownURL(queueURL))
}

func (c *redriveCmd) print(con *console, s *deadletters.Summary, from, to, model string) error {
	if c.JSON {
		return con.printJSON(struct {
			From   string `json:"from"`
			To     string `json:"to"`
			DryRun bool   `json:"dry_run"`
			*deadletters.Summary
		}{from, to, c.DryRun, s}, nil)
	}
	t := con.table("reason", "messages", "which means")
	for _, reason := range slices.Sorted(maps.Keys(s.Reasons)) {
		t.row(string(reason), fmt.Sprint(s.Reasons[reason]), deadletters.Explain(reason))
	}
	if len(s.Reasons) > 0 {
		if err := t.print(); err != nil {
			return err
		}
		fmt.Fprintln(con.stdout)
	}
	done := fmt.Sprintf("%d sent to %s and %d deleted here", s.Sent, to, s.Deleted)
	if c.DryRun {
		done = fmt.Sprintf("they would be sent to %s (dry run)", to)
	}
	fmt.Fprintf(con.stdout, "%s: %d messages at the start, %d looked at, %d meant; %s.\n", from, s.There, s.Looked, s.Matched, done)
	inFlight := min(s.InFlight, max(0, s.There-s.Looked))
	for _, left := range []struct {
		n    int
		text string
	}{
		{s.OtherQueue, "came from another queue, and stay; --any-source takes them too"},
		{s.OtherModel, "were rejected by another model than " + model + ", and stay; name theirs in SLUICE_MODEL, or take them by --any-source"},
		{s.Newer, "came after the start, and were left alone"},
		{inFlight, "are in flight: repeat when they are back"},
		{s.There - s.Looked - inFlight, "were not looked at: delayed, behind others of their group, or beyond --max"},
		{s.Unreturned, "could not be given back at once, and are invisible until the queue's visibility ends"},
	} {
		if left.n > 0 {
			fmt.Fprintf(con.stdout, "%d %s.\n", left.n, left.text)
		}
	}
	for _, list := range []struct {
		what string
		ids  []string
	}{{"not sent", s.NotSent}, {"not known whether it was sent; it may be in both queues", s.MaybeSent}, {"sent, and not deleted", s.Undeleted}} {
		for i, id := range list.ids {
			if i == maxNumbers {
				fmt.Fprintf(con.stderr, "sluice: %s: %d more (--json lists them)\n", list.what, len(list.ids)-i)
				break
			}
			fmt.Fprintf(con.stderr, "sluice: %s: message %s\n", list.what, id)
		}
	}
	return nil
}
