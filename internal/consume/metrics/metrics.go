// Package metrics shows Prometheus what a consumer does: an observer of runs, and the pages
// /metrics and /healthz. Only the command line links it; the Lambda function has internal/emf.
//
// Labels take their values from fixed lists (outcomes, reasons, causes), so that no message can
// make a new series, and nothing of a message is shown.
package metrics

import (
	"cmp"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
)

// Model is a model of the queue.
type Model struct {
	Name string
	// Replaces, Conflicts and Ignores say which outcomes its messages can have beside those of every
	// model.
	Replaces, Conflicts, Ignores bool
}

// Metrics observes runs.
type Metrics struct {
	registry *prometheus.Registry
	now      func() time.Time
	models   []Model

	messages     *prometheus.CounterVec
	receives     *prometheus.CounterVec
	received     prometheus.Counter
	batch        prometheus.Histogram
	transactions *prometheus.HistogramVec
	latency      prometheus.Histogram
	deadLettered prometheus.Counter
	undeleted    prometheus.Counter
	held         prometheus.Gauge
	queue        *prometheus.GaugeVec
	up           *prometheus.GaugeVec

	mu      sync.Mutex
	down    [2]time.Time  // since when each of the parts is out of reach
	oldest  time.Duration // age of the last transaction's oldest message
	waiting time.Time     // when the oldest message was sent that an outage returned, zero without an outage
}

var _ consume.Observer = (*Metrics)(nil)

// parts are what can be out of reach.
var parts = [...]string{"database", "queue"}

// Outcomes of the label outcome.
const (
	outcomeStored    = "stored"
	outcomeDuplicate = "duplicate"
	outcomeRejected  = "rejected"
	outcomeReturned  = "returned"
)

// New returns the metrics of a process with these models. now is the clock.
//
// The messages have the label model if there are several: with one, it would say nothing.
func New(version string, now func() time.Time, models ...Model) *Metrics {
	registry := prometheus.NewRegistry()
	add := promauto.With(registry)
	labels := []string{"outcome", "reason"}
	if len(models) > 1 {
		labels = append(labels, "model")
	}
	m := &Metrics{
		registry: registry, now: now, models: models,
		messages: add.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_messages_total",
			Help: "Messages by what became of them: stored (a new row), duplicate (stored before, or repeated in the batch), rejected (it can never be stored), returned (to the queue), and for some models replaced (an older row), outdated (the table has a newer row), conflict (another message has stored the key with other content), ignored. The reason is why they were rejected or returned.",
		}, labels),
		receives: add.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_receives_total",
			Help: "ReceiveMessage calls by result: messages, empty, error.",
		}, []string{"result"}),
		received: add.NewCounter(prometheus.CounterOpts{
			Name: "sluice_received_messages_total",
			Help: "Messages received, each delivery of one.",
		}),
		batch: add.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_batch_messages", Help: "Messages of a transaction.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000},
		}),
		transactions: add.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_transaction_seconds", Help: "How long checking, masking and storing the messages of a transaction took, by result: done, or the cause why messages were returned (moment: transient, operator: configuration, deadline).",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60},
		}, []string{"result"}),
		latency: add.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_end_to_end_seconds", Help: "From when a message was sent to when its row was committed, of new rows and duplicates.",
			Buckets: []float64{.05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600},
		}),
		deadLettered: add.NewCounter(prometheus.CounterOpts{
			Name: "sluice_dead_lettered_total", Help: "Rejected messages that the dead-letter queue has taken.",
		}),
		undeleted: add.NewCounter(prometheus.CounterOpts{
			Name: "sluice_deletes_failed_total", Help: "Messages that are stored or dead-lettered and could not be deleted: they come again, and are deleted then.",
		}),
		held: add.NewGauge(prometheus.GaugeOpts{
			Name: "sluice_in_flight_messages", Help: "Messages that this consumer holds.",
		}),
		queue: add.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_queue_messages", Help: "Messages in the queue, approximately, by state: visible, in_flight (held by any consumer), delayed.",
		}, []string{"state"}),
		up: add.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_reachable", Help: "1 while the part (database, queue) answers, as far as is known.",
		}, []string{"part"}),
	}
	add.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_queue_age_seconds", Help: "How long ago the oldest message of the last transaction was sent, 0 when the last receive found none; in an outage, of the messages that were returned.",
	}, m.age)
	add.NewGaugeVec(prometheus.GaugeOpts{Name: "sluice_build_info", Help: "1, with the version."}, []string{"version"}).WithLabelValues(version).Set(1)
	m.start()
	return m
}

// start makes every possible series: one that appears with its first event has no rate for it.
func (m *Metrics) start() {
	if len(m.models) != 1 {
		m.startModel(Model{}) // messages that no model took
	}
	for _, model := range m.models {
		m.startModel(model)
	}
	for _, r := range []string{"messages", "empty", "error"} {
		m.receives.WithLabelValues(r)
	}
	for _, r := range []message.Cause{message.CauseNone, message.CauseTransient, message.CauseConfiguration, message.CauseDeadline} {
		m.transactions.WithLabelValues(label(r, done))
	}
	m.Unreachable(time.Time{}, time.Time{})
}

// startModel makes the series of a model's messages.
func (m *Metrics) startModel(model Model) {
	for _, o := range []struct {
		word string
		can  bool
	}{
		{outcomeStored, true},
		{outcomeDuplicate, true},
		{"replaced", model.Replaces},
		{"outdated", model.Replaces},
		{"conflict", model.Conflicts},
		{"ignored", model.Ignores},
	} {
		if o.can {
			m.count(model.Name, o.word, "", 0)
		}
	}
	for _, r := range message.Reasons() {
		m.count(model.Name, outcomeRejected, string(r), 0)
	}
	for _, c := range returns {
		m.count(model.Name, outcomeReturned, label(c, unproven), 0)
	}
}

// count adds to the messages of a model.
func (m *Metrics) count(model, outcome, reason string, n int) {
	labels := []string{outcome, reason, model}
	if len(m.models) < 2 {
		labels = labels[:2]
	}
	m.messages.WithLabelValues(labels...).Add(float64(n))
}

// countAll adds what became of a model's messages.
func (m *Metrics) countAll(model string, c *message.Counts) {
	m.count(model, outcomeStored, "", c.Stored)
	m.count(model, outcomeDuplicate, "", c.Duplicate)
	for _, o := range c.Special() {
		if o.Messages > 0 {
			m.count(model, o.Word, "", o.Messages)
		}
	}
	for reason, n := range c.Reasons {
		m.count(model, outcomeRejected, string(reason), n)
	}
	for why, n := range c.Causes {
		m.count(model, outcomeReturned, label(why, unproven), n)
	}
}

// returns are the causes of messages that are returned.
var returns = []message.Cause{
	message.CauseNone, message.CauseGroup, message.CausePanic, message.CauseDeadline, message.CauseTransient,
	message.CauseConfiguration, message.CauseDiscarded, message.CauseForeignKey, message.CauseMemory, message.CauseUnsent,
}

// What the labels say without a cause.
const (
	unproven = "unproven"
	done     = "done"
)

func label(c message.Cause, none string) string { return cmp.Or(string(c), none) }

// Process adds the metrics of Go and of the process.
func (m *Metrics) Process() {
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// Received implements consume.Observer.
func (m *Metrics) Received(messages int, err error) {
	switch {
	case err != nil:
		m.receives.WithLabelValues("error").Inc()
	case messages == 0:
		m.receives.WithLabelValues("empty").Inc()
		m.mu.Lock()
		defer m.mu.Unlock()
		m.oldest = 0
	default:
		m.receives.WithLabelValues("messages").Inc()
		m.received.Add(float64(messages))
	}
}

// Transacted implements consume.Observer.
func (m *Metrics) Transacted(t *consume.Transaction) {
	m.batch.Observe(float64(len(t.Messages)))
	m.transactions.WithLabelValues(label(t.Cause, done)).Observe(t.Ended.Sub(t.Began).Seconds())
	m.deadLettered.Add(float64(t.DeadLettered))
	m.undeleted.Add(float64(t.Undeleted))
	var waiting time.Time
	for i, v := range t.Verdicts {
		age := t.Messages[i].Age(t.Ended)
		sent := t.Ended.Add(-age)
		if v.Outcome == message.Returned && t.Cause != message.CauseNone && (waiting.IsZero() || waiting.After(sent)) {
			waiting = sent
		}
		if (v.Outcome == message.Stored || v.Outcome == message.Repeated) && t.Messages[i].HasSent {
			m.latency.Observe(age.Seconds())
		}
	}
	if all := t.ByModel(); all != nil {
		m.countAll("", &all[0])
		for i, name := range t.Models {
			m.countAll(name, &all[1+i])
		}
	} else {
		c := t.Counts()
		m.countAll("", &c)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.oldest = t.Oldest(t.Ended)
	if waiting.IsZero() || m.waiting.IsZero() || waiting.Before(m.waiting) {
		m.waiting = waiting
	}
}

// age returns the age of the oldest known message, in seconds. Messages that an outage returned
// grow older while no receive brings them.
func (m *Metrics) age() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	age := m.oldest
	if !m.waiting.IsZero() {
		age = max(age, m.now().Sub(m.waiting))
	}
	return age.Seconds()
}

// Holds implements consume.Observer.
func (m *Metrics) Holds(messages int) { m.held.Set(float64(messages)) }

// Counted implements consume.Observer.
func (m *Metrics) Counted(c sqs.Counts) {
	m.queue.WithLabelValues("visible").Set(float64(c.Visible))
	m.queue.WithLabelValues("in_flight").Set(float64(c.InFlight))
	m.queue.WithLabelValues("delayed").Set(float64(c.Delayed))
	if c.All() == 0 {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.waiting = time.Time{} // others have stored them
	}
}

// Waits implements consume.Observer. The queue's counts have it.
func (m *Metrics) Waits(consume.Waits) {}

// Unreachable implements consume.Observer.
func (m *Metrics) Unreachable(database, queue time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = [...]time.Time{database, queue}
	for i, since := range m.down {
		up := 0.0
		if since.IsZero() {
			up = 1
		}
		m.up.WithLabelValues(parts[i]).Set(up)
	}
}
