// Package emf writes one line of CloudWatch's embedded metric format for each invocation:
// CloudWatch makes metrics of it without an API call. The only dimension is the function's name.
// Reasons and causes are properties of the line, for CloudWatch Logs Insights, so that they cost no
// metric each.
//
// Source of the format: Amazon CloudWatch User Guide, "Specification: Embedded metric format".
package emf

import (
	"io"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
)

// Namespace is where CloudWatch shows the metrics.
const Namespace = "sluice"

// units are the metrics' names and units, in the order of the line.
var units = []metric{
	{"Received", "Count"},
	{"Stored", "Count"},
	{"Duplicate", "Count"},
	{"Rejected", "Count"},
	{"Returned", "Count"},
	{"Waiting", "Count"},
	{"DatabaseMs", "Milliseconds"},
	{"RoundTrips", "Count"},
	{"OldestMessageAgeMs", "Milliseconds"},
	{"ColdStart", "Count"},
}

type metric struct {
	Name string `json:"Name"`
	Unit string `json:"Unit"`
}

// Metrics lists the names of the metrics.
func Metrics() []string {
	names := make([]string, len(units))
	for i, u := range units {
		names[i] = u.Name
	}
	return names
}

// Writer writes the lines. It is safe for concurrent use.
type Writer struct {
	mu       sync.Mutex
	w        io.Writer
	function string
	now      func() time.Time
	warm     bool
}

// NewWriter returns a writer for the function with the given name. now is the clock.
func NewWriter(w io.Writer, function string, now func() time.Time) *Writer {
	return &Writer{w: w, function: function, now: now}
}

// line is one line; its fields named as metrics are their values.
type line struct {
	AWS struct {
		Timestamp         int64
		CloudWatchMetrics []directive
	} `json:"_aws"`
	FunctionName       string
	Received           int
	Stored             int // new rows
	Duplicate          int // stored before, or repeated in the batch
	Rejected           int
	Returned           int
	Waiting            int // those returned that no fault holds up: another message or batch comes first
	DatabaseMs         float64
	RoundTrips         int
	OldestMessageAgeMs int64
	ColdStart          int
	// Properties: how many, by reason and by cause.
	RejectedByReason map[message.Reason]int `json:",omitempty"`
	ReturnedByCause  map[message.Cause]int  `json:",omitempty"`
}

type directive struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []metric
}

// waiting counts the returned messages that wait for another one, or for another batch. If the other
// one has met a fault, that one counts as returned without waiting.
func waiting(causes map[message.Cause]int) int {
	return causes[message.CauseForeignKey] + causes[message.CauseMemory] + causes[message.CauseGroup]
}

// Write writes the line of one batch.
func (w *Writer) Write(r *ingest.Report) error {
	now := w.now()
	c := r.Counts()
	l := line{
		FunctionName: w.function, Received: len(r.Messages),
		Stored: c.Stored, Duplicate: c.Duplicate, Rejected: c.Rejected, Returned: c.Returned, Waiting: waiting(c.Causes), RejectedByReason: c.Reasons, ReturnedByCause: c.Causes,
		DatabaseMs: float64(r.StoreTime.Microseconds()) / 1000, RoundTrips: r.RoundTrips, OldestMessageAgeMs: r.Oldest(now).Milliseconds(),
	}
	l.AWS.Timestamp = now.UnixMilli()
	l.AWS.CloudWatchMetrics = []directive{{Namespace, [][]string{{"FunctionName"}}, units}}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.warm {
		l.ColdStart, w.warm = 1, true
	}
	text, err := json.Marshal(l, json.Deterministic(true))
	if err != nil {
		return err
	}
	_, err = w.w.Write(append(text, '\n'))
	return err
}
