package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/consume/metrics"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqs"
)

type consumeCmd struct {
	UntilEmpty  bool          `xor:"mode" help:"End when the queue is empty, or holds only messages that this run could not store. This is the default."`
	Forever     bool          `xor:"mode" help:"Run until SIGTERM, SIGINT or SIGHUP."`
	Batches     *int          `xor:"mode" placeholder:"N" help:"End after N transactions, or when the queue is empty."`
	BatchSize   int           `default:"500" help:"Messages per transaction, at most; they come from many receives (${default})."`
	Linger      time.Duration `default:"200ms" help:"How long a message waits for its transaction to fill (${default})."`
	Concurrency int           `default:"2" help:"Transactions at once (${default})."`
	Receivers   int           `default:"8" help:"Receives at once, as long as they bring messages (${default})."`
	Grace       time.Duration `default:"20s" help:"After SIGTERM, time to finish; messages that are not done then are returned (${default})."`
	GiveUpAfter time.Duration `default:"5m" help:"End after the queue or the database was unreachable for this long; not with --forever; 0 is never (${default})."`
	MetricsAddr string        `placeholder:"HOST:PORT" help:"Serve /metrics for Prometheus, and /healthz, as on 127.0.0.1:9464; default: SLUICE_METRICS_ADDR."`
	JSON        bool          `help:"Print the summary as JSON."`
}

// Help returns the details.
func (consumeCmd) Help() string {
	return `Takes messages from SQS_URL through the same code as the Lambda function. Rejected messages go to DEAD_LETTER_QUEUE_URL;
without it, they stay in the queue. The summary goes to standard output. Standard error has a progress bar on a
terminal, and logs as JSON elsewhere.

The first SIGTERM, SIGINT or SIGHUP stops receiving, finishes or returns the messages in hand, and exits with 0. A second one
ends the process at once.

  sluice consume
  sluice consume --forever --metrics-addr 127.0.0.1:9464`
}

// Validate implements kong's check of the arguments.
func (c *consumeCmd) Validate() error {
	inRange := func(flag string, value, low, high int) error {
		if value < low || value > high {
			return fmt.Errorf("%s must be from %d to %d", flag, low, high)
		}
		return nil
	}
	var batches, long error
	if c.Batches != nil && *c.Batches < 1 {
		batches = errors.New("--batches must be 1 or more")
	}
	if c.Linger < 0 || c.Grace < 0 || c.GiveUpAfter < 0 {
		long = errors.New("--linger, --grace and --give-up-after cannot be negative")
	}
	return errors.Join(batches, long,
		inRange("--batch-size", c.BatchSize, 1, 10_000),
		inRange("--concurrency", c.Concurrency, 1, 64), inRange("--receivers", c.Receivers, 1, 64))
}

func (c *consumeCmd) options() consume.Options {
	o := consume.Defaults()
	switch {
	case c.Forever:
		o.Mode = consume.Forever
	case c.Batches != nil:
		o.Mode, o.Batches = consume.Batches, *c.Batches
	}
	o.BatchSize, o.Linger, o.Concurrency, o.Receivers = c.BatchSize, c.Linger, c.Concurrency, c.Receivers
	o.Grace, o.GiveUpAfter = c.Grace, c.GiveUpAfter
	return o
}

// Run implements the command.
func (c *consumeCmd) Run(ctx context.Context, con *console) error {
	began, show := time.Now(), con.watchConsumer(c.Forever)
	defer show.end()
	parts, err := app.Load(con.options(show.log), config.Database, config.Masks, config.Queue)
	if err != nil {
		return err
	}
	if cfg := parts.Config; cfg.QueueURL == cfg.DeadLetterQueueURL {
		return errSameQueue // deadLetters sees it in other spellings too, once SQS can be asked
	}
	summary, err := c.consume(ctx, parts, show)
	show.end()
	switch {
	case summary != nil:
		return c.report(con, summary, err)
	case ctx.Err() != nil: // stopped before it began
		return c.report(con, &consume.Summary{Ended: consume.EndedStopped, Took: time.Since(began)}, nil)
	default:
		return err
	}
}

var errSameQueue = errors.New("SQS_URL and DEAD_LETTER_QUEUE_URL are the same queue: rejected messages would come again and again")

// consume puts together what a run needs, and runs. The summary is nil when the
// run did not begin.
func (c *consumeCmd) consume(ctx context.Context, parts *app.App, show *consumerWatch) (*consume.Summary, error) {
	cfg, log := parts.Config, show.log
	pipeline, closeStore, err := parts.Pipeline(ctx)
	if err != nil {
		return nil, err
	}
	defer closeStore()
	if _, err := parts.Keys(ctx); err != nil && fault.Cause(err) == message.CauseConfiguration {
		return nil, err
	}
	client, err := parts.SQS(ctx)
	if err != nil {
		return nil, err
	}
	o := c.options()
	q, err := consume.Open(ctx, client, cfg.QueueURL, "SQS_URL", o, log)
	if err != nil {
		return nil, err
	}
	if show.bar != nil {
		o.CountEvery = 2 * time.Second
		show.Counted(q.Counts)
	}
	consumer := &consume.Consumer{Queue: q, Pipeline: pipeline, Log: log, Observers: []consume.Observer{show}, Options: o}
	if consumer.DeadLetters, err = deadLetters(ctx, client, cfg, q, log); err != nil {
		return nil, err
	}
	if address, setting := metricsAddress(c.MetricsAddr, cfg); address != "" {
		m := metrics.New(buildVersion(), time.Now, measured(cfg.Models)...)
		m.Process()
		at, stopPages, err := m.Serve(ctx, address)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", setting, err)
		}
		defer stopPages()
		log.InfoContext(ctx, "metrics are served", "metrics", "http://"+at+"/metrics", "health", "http://"+at+"/healthz")
		consumer.CountEvery = 10 * time.Second
		consumer.Observers = append(consumer.Observers, m)
	}
	log.InfoContext(ctx, "consuming", "queue", shownURL(q.URL), "model", strings.Join(modelNames(cfg.Models), ", "), "visible", q.Counts.Visible, "in_flight", q.Counts.InFlight,
		"visibility", q.Settings.Visibility.String())
	summary, err := consumer.Run(ctx)
	return &summary, err
}

// modelNames lists the names of models.
func modelNames(set *model.Set) []string {
	names := make([]string, len(set.Models))
	for i, m := range set.Models {
		names[i] = m.Name
	}
	return names
}

// measured says which outcomes the metrics have of each model.
func measured(set *model.Set) []metrics.Model {
	all := make([]metrics.Model, len(set.Models))
	for i, m := range set.Models {
		all[i] = metrics.Model{Name: m.Name, Ignores: m.Ignore}
		if !m.Ignore {
			all[i].Replaces = m.Table.OnConflict == batch.Replace
			all[i].Conflicts = m.Table.FindsConflicts()
		}
	}
	return all
}

// deadLetters checks the dead-letter queue before it is needed, and returns
// nil without one. A role needs no more than permission to send there, so a
// queue whose settings it cannot read is fine.
func deadLetters(ctx context.Context, client *sqs.Client, cfg *config.Config, source *sqs.Queue, log *slog.Logger) (*sqs.DeadLetter, error) {
	if cfg.DeadLetterQueueURL == "" {
		if source.FIFO {
			log.WarnContext(ctx, "without DEAD_LETTER_QUEUE_URL a rejected message blocks its group until the queue moves it away; the messages after it are received as often")
		}
		return nil, nil //nolint:nilnil // that is what it means
	}
	dead, err := sqs.Open(ctx, client, cfg.DeadLetterQueueURL, "DEAD_LETTER_QUEUE_URL")
	switch {
	case err != nil && sqs.Missing(err):
		return nil, err
	case err != nil:
		log.WarnContext(ctx, "the settings of the dead-letter queue cannot be read", "error", err.Error())
	case dead.Settings.ARN == source.Settings.ARN:
		return nil, errSameQueue
	}
	return client.DeadLetter(cfg.DeadLetterQueueURL, "DEAD_LETTER_QUEUE_URL"), nil
}

// metricsAddress returns where metrics are served, and the setting that it comes from.
func metricsAddress(flag string, cfg *config.Config) (address, setting string) {
	if flag != "" {
		return flag, "--metrics-addr"
	}
	return cfg.MetricsAddr, "SLUICE_METRICS_ADDR"
}

// consumed is the summary for scripts.
type consumed struct {
	consume.Summary
	Seconds float64 `json:"seconds"`
	// PerSecond leaves out the time in which the run waited for messages.
	PerSecond float64 `json:"per_second"`
	Error     string  `json:"error,omitzero"`
}

func perSecond(s *consume.Summary) float64 {
	if s.Settled() == 0 || s.Busy <= 0 {
		return 0
	}
	return math.Round(float64(s.Settled()) / s.Busy.Seconds())
}

// report prints the summary, and returns the error.
func (c *consumeCmd) report(con *console, s *consume.Summary, err error) error {
	if c.JSON {
		out := consumed{Summary: *s, Seconds: s.Took.Seconds(), PerSecond: perSecond(s)}
		if err != nil {
			out.Error = err.Error()
		}
		return con.printJSON(out, err)
	}
	fmt.Fprintf(con.stdout, "%s\n", endings[s.Ended])
	line := func(label, format string, args ...any) {
		const indent = 12
		columns := con.width() - indent
		if columns <= 0 {
			columns = math.MaxInt
		}
		for i, text := range wrap(fmt.Sprintf(format, args...), columns) {
			if i > 0 {
				label = ""
			}
			fmt.Fprintf(con.stdout, "  %-10s%s\n", label, text)
		}
	}
	rate := ""
	if r := perSecond(s); r > 0 {
		rate = ", " + number(int(r)) + " a second"
	}
	line("received", "%s in %s, %s%s", number(s.Received), s.Took.Round(100*time.Millisecond), many(s.Passes, "transaction"), rate)
	stored := number(s.Stored) + " new"
	if s.Replaced > 0 {
		stored += ", " + number(s.Replaced) + " replaced"
	}
	stored += ", " + many(s.Duplicate, "duplicate")
	if s.Outdated > 0 {
		stored += ", " + number(s.Outdated) + " outdated"
	}
	if s.Conflict > 0 {
		stored += ", " + number(s.Conflict) + " in conflict with a stored row"
	}
	line("stored", "%s", stored)
	if s.Ignored > 0 {
		line("ignored", "%s, for models that say so", number(s.Ignored))
	}
	where, reasons := "", ""
	if s.Rejected > 0 {
		where = "; left in the queue, because DEAD_LETTER_QUEUE_URL is not set"
	}
	if s.DeadLettered > 0 {
		where = "; " + number(s.DeadLettered) + " sent to the dead-letter queue"
	}
	if len(s.Reasons) > 0 {
		reasons = " (" + counted(s.Reasons, func(r message.Reason) string { return string(r) }) + ")"
	}
	line("rejected", "%s%s%s", number(s.Rejected), reasons, where)
	if s.Returned > 0 {
		line("returned", "%s: %s", number(s.Returned), counted(s.Causes, cause))
	}
	if s.GivenBack > 0 {
		line("not tried", "%s, returned to the queue", number(s.GivenBack))
	}
	if s.Undeleted > 0 {
		line("undeleted", "%s: done, but SQS did not delete them; they come again as duplicates", number(s.Undeleted))
	}
	if s.Left+s.Behind > 0 {
		line("left", "%s that this run could not store, and %s after them in their groups", number(s.Left), number(s.Behind))
	}
	byModel(con, s.Models)
	return err
}

// byModel prints what became of the messages of each model, if there are several. Outcomes that only
// some models have get a column if there were some.
func byModel(con *console, models []consume.ModelCounts) {
	if models == nil {
		return
	}
	headings := []string{"model", "new", "duplicate"}
	var special [4]bool
	for i := range models {
		for k, o := range models[i].Special() {
			special[k] = special[k] || o.Messages > 0
		}
	}
	for k, o := range models[0].Special() {
		if special[k] {
			headings = append(headings, o.Word)
		}
	}
	fmt.Fprintln(con.stdout)
	t := con.table(append(headings, "rejected", "returned")...)
	for i := range models {
		m := &models[i]
		cells := []any{m.Model, number(m.Stored), number(m.Duplicate)}
		for k, o := range m.Special() {
			if special[k] {
				cells = append(cells, number(o.Messages))
			}
		}
		t.row(append(cells, number(m.Rejected), number(m.Returned))...)
	}
	t.print()
}

var endings = map[consume.Ended]string{
	consume.EndedEmpty:   "The queue is empty.",
	consume.EndedBatches: "All transactions are done.",
	consume.EndedStopped: "Stopped.",
	consume.EndedFailed:  "Stopped by an error.",
}

func number(n int) string { return humanize.Comma(int64(n)) }

func manyBodies(n int) string {
	if n == 1 {
		return "1 body"
	}
	return number(n) + " bodies"
}

func many(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return number(n) + " " + noun
}

// cause returns the words for why messages were returned.
func cause(c message.Cause) string {
	switch c {
	case message.CauseTransient:
		return "transient fault"
	case message.CauseConfiguration:
		return "configuration error"
	case message.CauseDeadline:
		return "no time left"
	case message.CauseGroup:
		return "after another of their group"
	case message.CauseDiscarded:
		return "row discarded by the database"
	case message.CauseForeignKey:
		return "waiting for a row that they refer to"
	case message.CauseMemory:
		return "more than one batch unwraps"
	case message.CauseUnsent:
		return "not taken by the dead-letter queue"
	case message.CausePanic:
		return "panic"
	case message.CauseNone:
	}
	return "no cause known"
}

// counted lists the words of counts, the highest count first. A word that
// stands alone is not counted: its number is before the list.
func counted[K ~string](counts map[K]int, word func(K) string) string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b K) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(keys))
	for i, k := range keys {
		if parts[i] = word(k); len(keys) > 1 {
			parts[i] = number(counts[k]) + " " + parts[i]
		}
	}
	return strings.Join(parts, ", ")
}
