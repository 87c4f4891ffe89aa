// Package emf writes one line of CloudWatch's embedded metric format for each invocation:
// CloudWatch makes metrics of it without an API call. The only dimension is the function's name.
// Reasons, causes and the counts of each model are properties of the line, for CloudWatch Logs
// Insights, so that they cost no metric each. So is the request's id, which finds the other lines of
// the invocation. It is the only line of a batch without a fault.
//
// Source of the format: Amazon CloudWatch User Guide, "Specification: Embedded metric format".
package emf

import (
	"context"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
)

// Namespace is where CloudWatch shows the metrics.
const Namespace = "sluice"

// units are the metrics' names and units, in the order of the line.
var units = []struct{ name, unit string }{
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

// special are the metrics of message.Counts.Special, in its order. A line has those that are not 0:
// most installations have no model with such outcomes, and pay for no metric that is always 0.
var special = [...]string{"Replaced", "Outdated", "Conflict", "Ignored"}

// Metrics lists the names of the metrics, those last that not every line has.
func Metrics() (names []string) {
	for _, u := range units {
		names = append(names, u.name)
	}
	return append(names, special[:]...)
}

// Options are what a Writer needs besides a place to write to.
type Options struct {
	// Function is the name of the function.
	Function string
	// RequestID returns the id of the invocation's request, "" if it is unknown. It may be nil.
	RequestID func(context.Context) string
	// Now is the clock.
	Now func() time.Time
}

// Writer writes the lines. It is safe for concurrent use.
type Writer struct {
	w       io.Writer
	options Options
	// What follows the time, the same in each line: before the names of special metrics, and after.
	before, after []byte

	mu   sync.Mutex
	line []byte // the memory of the last one
	warm bool
}

// NewWriter returns a writer of lines to w.
func NewWriter(w io.Writer, o Options) *Writer {
	before := []byte(`,"CloudWatchMetrics":[{"Namespace":"` + Namespace + `","Dimensions":[["FunctionName"]],"Metrics":[`)
	for i, u := range units {
		if i > 0 {
			before = append(before, ',')
		}
		before = append(before, `{"Name":"`+u.name+`","Unit":"`+u.unit+`"}`...)
	}
	after := quote([]byte(`]}]},"FunctionName":`), o.Function)
	return &Writer{w: w, options: o, before: before, after: after}
}

// waiting counts the returned messages that wait for another one, or for another batch. If the other
// one has met a fault, that one counts as returned without waiting.
func waiting(causes map[message.Cause]int) int {
	return causes[message.CauseForeignKey] + causes[message.CauseMemory] + causes[message.CauseGroup]
}

// Write writes the line of one batch. It appends the text itself: a marshaller allocates and takes
// several times as long, for each invocation, however few its messages are.
func (w *Writer) Write(ctx context.Context, r *ingest.Report) error {
	now, c := w.options.Now(), r.Counts()
	w.mu.Lock()
	defer w.mu.Unlock()
	cold := 0
	if !w.warm {
		cold, w.warm = 1, true
	}
	b := strconv.AppendInt(append(w.line[:0], `{"_aws":{"Timestamp":`...), now.UnixMilli(), 10)
	b = append(b, w.before...)
	more := c.Special()
	for i, name := range special {
		if more[i].Messages > 0 {
			b = append(append(append(b, `,{"Name":"`...), name...), `","Unit":"Count"}`...)
		}
	}
	b = append(b, w.after...)
	if w.options.RequestID != nil {
		if id := w.options.RequestID(ctx); id != "" {
			b = quote(append(b, `,"requestId":`...), id)
		}
	}
	b = number(b, "Received", len(r.Messages))
	b = number(b, "Stored", c.Stored)       // new rows
	b = number(b, "Duplicate", c.Duplicate) // stored before, or repeated in the batch
	for i, name := range special {
		b = some(b, name, more[i].Messages)
	}
	b = number(b, "Rejected", c.Rejected)
	b = number(b, "Returned", c.Returned)
	b = number(b, "Waiting", waiting(c.Causes)) // those of Returned that no fault holds up: another message or batch comes first
	b = strconv.AppendFloat(append(b, `,"DatabaseMs":`...), float64(r.StoreTime.Microseconds())/1000, 'f', -1, 64)
	b = number(b, "RoundTrips", r.RoundTrips)
	b = number(b, "OldestMessageAgeMs", int(r.Oldest(now).Milliseconds()))
	b = number(b, "ColdStart", cold)
	b = counts(b, "RejectedByReason", c.Reasons)
	b = counts(b, "ReturnedByCause", c.Causes)
	b = byModel(b, r)
	b = append(b, "}\n"...)
	w.line = b
	_, err := w.w.Write(w.line)
	return err
}

// byModel appends a member with what became of the messages of each model that had some, if the queue
// has several.
func byModel(b []byte, r *ingest.Report) []byte {
	all := r.ByModel()
	if all == nil {
		return b
	}
	b = append(b, `,"ByModel":{`...)
	for i, name := range r.Models {
		c := &all[1+i]
		received := c.Done() + c.Rejected + c.Returned
		if received == 0 {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(quote(b, name), `:{"Received":`...)
		b = strconv.AppendInt(b, int64(received), 10)
		b = some(b, "Stored", c.Stored)
		b = some(b, "Duplicate", c.Duplicate)
		for i, n := range c.Special() {
			b = some(b, special[i], n.Messages)
		}
		b = some(b, "Rejected", c.Rejected)
		b = append(some(b, "Returned", c.Returned), '}')
	}
	return append(b, '}')
}

// some appends a member with a number that is not 0.
func some(b []byte, name string, n int) []byte {
	if n == 0 {
		return b
	}
	return number(b, name, n)
}

// number appends a member with a number.
func number(b []byte, name string, n int) []byte {
	b = append(append(append(b, `,"`...), name...), `":`...)
	return strconv.AppendInt(b, int64(n), 10)
}

// counts appends a member with an object of numbers, if there are any.
func counts[K ~string](b []byte, name string, all map[K]int) []byte {
	if len(all) == 0 {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":{`...)
	for i, key := range slices.Sorted(maps.Keys(all)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(quote(b, string(key)), ':'), int64(all[key]), 10)
	}
	return append(b, '}')
}

// quote appends a string. Invalid UTF-8, of which the error tells, is replaced in what it appends.
func quote(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}
