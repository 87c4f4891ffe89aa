package metrics_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/consume/metrics"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
)

var update = flag.Bool("update", false, "write the page into docs/metrics.md")

const (
	docs      = "../../../docs/metrics.md"
	dashboard = "../../../dashboards/consume.json"
)

// example is a consumer that has done a little of everything.
func example(now time.Time, models ...metrics.Model) *metrics.Metrics {
	m := metrics.New("v1.0.0", func() time.Time { return now }, models...)
	m.Received(0, nil)
	m.Received(10, nil)
	m.Received(7, nil)
	m.Received(0, errors.New("down"))
	m.Counted(sqs.Counts{Visible: 120, InFlight: 17, Delayed: 3})
	m.Holds(17)
	began := now.Add(-20 * time.Millisecond)
	var t consume.Transaction
	add := func(n int, age time.Duration, v message.Verdict) {
		for range n {
			t.Messages = append(t.Messages, message.Message{HasSent: true, SentMillis: now.Add(-age).UnixMilli()})
			t.Verdicts = append(t.Verdicts, v)
		}
	}
	add(10, 300*time.Millisecond, message.Verdict{Outcome: message.Stored})
	add(2, 45*time.Second, message.Verdict{Outcome: message.Stored})
	add(1, 45*time.Second, message.Verdict{Outcome: message.Repeated})
	add(1, time.Second, message.Verdict{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonNotIP, Field: "ip"}})
	add(1, time.Second, message.Verdict{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonRefused}})
	add(2, time.Second, message.Verdict{Cause: message.CauseUnsent})
	t.Tallies, t.Began, t.Ended, t.DeadLettered, t.Undeleted = message.Tallies{{Inserted: 11}}, began, now, 2, 1
	m.Transacted(&t)
	m.Transacted(&consume.Transaction{
		Report: ingest.Report{Messages: make([]message.Message, 1), Verdicts: []message.Verdict{{Cause: message.CauseTransient}}, Cause: message.CauseTransient},
		Began:  now.Add(-6 * time.Second), Ended: now,
	})
	m.Unreachable(now.Add(-3*time.Second), time.Time{})
	return m
}

// queueModels have all outcomes between them.
var queueModels = []metrics.Model{{Name: "orders", Conflicts: true}, {Name: "states", Replaces: true}, {Name: "tests", Ignores: true}}

// TestModels: with several models, messages have the label model.
func TestModels(t *testing.T) {
	t.Parallel()
	m := metrics.New("v1.0.0", time.Now, queueModels...)
	report := ingest.Report{Models: []string{"orders", "states", "tests"}, Tallies: message.Tallies{{Inserted: 1}, {Inserted: 1, Replaced: 2}}}
	for _, v := range []message.Verdict{
		{Model: 1, Outcome: message.Stored},
		{Model: 1, Outcome: message.Stored, Rejection: message.Rejection{Reason: message.ReasonConflict}},
		{Model: 1, Outcome: message.Repeated},
		{Model: 1, Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonMissing}},
		{Model: 1, Cause: message.CauseForeignKey},
		{Model: 2, Outcome: message.Stored},
		{Model: 2, Outcome: message.Stored},
		{Model: 2, Outcome: message.Stored},
		{Model: 2, Outcome: message.Stored},
		{Model: 2, Outcome: message.Stored, Outdated: true},
		{Model: 3, Outcome: message.Ignored},
		{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonNoModel}},
		{Outcome: message.Repeated},
	} {
		report.Verdicts, report.Messages = append(report.Verdicts, v), append(report.Messages, message.Message{HasSent: true})
	}
	_, before := get(t, m.Handler(), "/metrics")
	m.Transacted(&consume.Transaction{Report: report})
	_, page := get(t, m.Handler(), "/metrics")
	if lines := strings.Count(page, "sluice_messages_total{"); lines != strings.Count(before, "sluice_messages_total{") {
		t.Errorf("a series appeared with its first event: there are %d", lines)
	}
	for _, want := range []string{
		`{model="orders",outcome="stored",reason=""} 1`, `{model="orders",outcome="conflict",reason=""} 1`, `{model="orders",outcome="duplicate",reason=""} 1`,
		`{model="orders",outcome="rejected",reason="missing"} 1`, `{model="orders",outcome="returned",reason="foreign_key"} 1`,
		`{model="states",outcome="stored",reason=""} 1`, `{model="states",outcome="replaced",reason=""} 2`, `{model="states",outcome="outdated",reason=""} 1`, `{model="states",outcome="duplicate",reason=""} 1`,
		`{model="tests",outcome="ignored",reason=""} 1`,
		`{model="",outcome="rejected",reason="no_model"} 1`, `{model="",outcome="duplicate",reason=""} 1`,
	} {
		if !strings.Contains(page, "sluice_messages_total"+want+"\n") {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, none := range []string{`{model="orders",outcome="replaced"`, `{model="states",outcome="conflict"`, `{model="orders",outcome="ignored"`} {
		if strings.Contains(page, none) {
			t.Errorf("the page has %s, which cannot be", none)
		}
	}
	if !strings.Contains(page, "sluice_end_to_end_seconds_count 9\n") {
		t.Error("the latency is not that of stored rows and duplicates alone")
	}
}

// TestOneModel: messages have no label model, and the outcomes that the model can have.
func TestOneModel(t *testing.T) {
	t.Parallel()
	_, page := get(t, metrics.New("v1.0.0", time.Now, metrics.Model{Name: "states", Replaces: true}).Handler(), "/metrics")
	if strings.Contains(page, "model=") || strings.Count(page, `sluice_messages_total{outcome="replaced",reason=""} 0`) != 1 || strings.Contains(page, `"ignored"`) {
		t.Errorf("the page is %s", page)
	}
}

func get(t *testing.T, h http.Handler, path string) (status int, text string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// The sample in the documentation is the page of the example.
func TestPage(t *testing.T) {
	t.Parallel()
	status, page := get(t, example(time.UnixMilli(1_767_225_600_000)).Handler(), "/metrics")
	if status != http.StatusOK {
		t.Fatalf("HTTP %d: %s", status, page)
	}
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), " -update writes this -->\n```\n")
	old, after, ok2 := strings.Cut(rest, "```\n")
	if !ok || !ok2 {
		t.Fatal("docs/metrics.md has no place for the page")
	}
	if *update {
		if err := os.WriteFile(docs, []byte(before+" -update writes this -->\n```\n"+page+"```\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(page, old); diff != "" {
		t.Errorf("docs/metrics.md is out of date (-page +docs); go test ./internal/consume/metrics -update writes it\n%s", diff)
	}
}

// series has the labels of each metric on a page, and bucket, sum and count
// of a histogram as metrics of their own.
func series(page string) map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, labels, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		if all[name] == nil {
			all[name] = map[string]bool{}
		}
		labels, _, _ = strings.Cut(labels, "} ")
		for _, m := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(labels, -1) {
			all[name][m[1]] = true
		}
	}
	return all
}

var (
	grouping  = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
	window    = regexp.MustCompile(`\[[^\]]*\]`)
	selection = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?`)
	matcher   = regexp.MustCompile(`([a-zA-Z_]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
	function  = regexp.MustCompile(`^[a-z_]+\s*\(`)
)

// The dashboard asks for nothing that does not exist, and shows everything
// that does.
func TestDashboard(t *testing.T) {
	t.Parallel()
	m := example(time.Now(), queueModels...)
	m.Process()
	_, page := get(t, m.Handler(), "/metrics")
	have := series(page)
	text, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	check := func(where, expr string) {
		var labels []string
		for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(g[1], ",") {
				labels = append(labels, strings.TrimSpace(label))
			}
		}
		rest := window.ReplaceAllString(grouping.ReplaceAllString(expr, " "), "")
		found := 0
		for _, at := range selection.FindAllStringSubmatchIndex(rest, -1) {
			name := rest[at[2]:at[3]]
			if function.MatchString(rest[at[0]:]) || slices.Contains([]string{"by", "and", "or", "unless", "job", "instance"}, name) {
				continue
			}
			found++
			known, ok := have[name]
			if !ok {
				t.Errorf("%s: there is no metric %s: %s", where, name, expr)
				continue
			}
			asked[name] = true
			if at[4] >= 0 {
				for _, m := range matcher.FindAllStringSubmatch(rest[at[4]:at[5]], -1) {
					labels = append(labels, m[1])
					if value := m[2]; known[m[1]] && !strings.HasPrefix(value, "$") {
						for one := range strings.SplitSeq(value, "|") {
							if !strings.Contains(page, m[1]+`="`+one+`"`) {
								t.Errorf("%s: no %s is %q: %s", where, m[1], one, expr)
							}
						}
					}
				}
			}
			for _, label := range labels {
				if !known[label] && label != "job" && label != "instance" { // those two are Prometheus's own
					t.Errorf("%s: %s has no label %s: %s", where, name, label, expr)
				}
			}
		}
		if found == 0 {
			t.Errorf("%s: no metric found in %s", where, expr)
		}
	}
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			check(p.Title, target.Expr)
		}
	}
	for _, v := range board.Templating.List {
		if v.Definition != "" {
			check("variable "+v.Name, regexp.MustCompile(`^label_values\((.*), *[a-z]+\)$`).ReplaceAllString(v.Definition, "$1"))
		}
	}
	for name := range have {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "sluice_") && !asked[name] && !asked[base+"_bucket"] {
			t.Errorf("no panel shows %s", name)
		}
	}
	if len(asked) < 10 {
		t.Errorf("only %d metrics are asked for: is the dashboard read as it should be?", len(asked))
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		database, queue time.Time
		status          int
		text            string
	}{
		"well":           {time.Time{}, time.Time{}, http.StatusOK, "ok"},
		"a fail-over":    {now.Add(-30 * time.Second), time.Time{}, http.StatusOK, "the database is out of reach for 30s"},
		"database down":  {now.Add(-5 * time.Minute), time.Time{}, http.StatusServiceUnavailable, "the database is out of reach for 5m0s"},
		"queue down":     {time.Time{}, now.Add(-5 * time.Minute), http.StatusServiceUnavailable, "the queue is out of reach for 5m0s"},
		"both, one long": {now.Add(-time.Second), now.Add(-5 * time.Minute), http.StatusServiceUnavailable, "the queue is out of reach for 5m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := metrics.New("", func() time.Time { return now })
			m.Unreachable(test.database, test.queue)
			status, text := get(t, m.Handler(), "/healthz")
			if status != test.status || strings.TrimSpace(text) != test.text {
				t.Errorf("got HTTP %d, %q, want %d, %q", status, text, test.status, test.text)
			}
		})
	}
}

// Whatever messages hold, they make no new series.
func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	count := func(m *metrics.Metrics) int {
		_, page := get(t, m.Handler(), "/metrics")
		return strings.Count(page, "\n") - strings.Count(page, "#")
	}
	m := metrics.New("", time.Now)
	m.Counted(sqs.Counts{})
	before := count(m)
	var tx consume.Transaction
	for _, r := range message.Reasons() {
		tx.Verdicts = append(tx.Verdicts, message.Verdict{Outcome: message.Rejected, Rejection: message.Rejection{Reason: r, Field: "ip", Constraint: "c", Column: "d"}})
	}
	for _, c := range []message.Cause{
		message.CauseNone, message.CauseGroup, message.CausePanic, message.CauseDeadline, message.CauseTransient, message.CauseConfiguration, message.CauseDiscarded, message.CauseUnsent,
	} {
		tx.Verdicts = append(tx.Verdicts, message.Verdict{Cause: c})
		m.Transacted(&consume.Transaction{Report: ingest.Report{Cause: c}})
	}
	tx.Messages = make([]message.Message, len(tx.Verdicts))
	m.Transacted(&tx)
	// Faults of a whole transaction are never group, panic, swallowed or unsent; as many histograms
	// would appear.
	if after := count(m); after > before+4*18 {
		t.Errorf("%d series became %d", before, after)
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	m := metrics.New("v1", time.Now)
	at, stop, err := m.Serve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(text), `sluice_build_info{version="v1"} 1`) {
		t.Errorf("got %s, %v", text, err)
	}
	for address, want := range map[string]string{
		at:                      "cannot serve metrics on " + at + ": another process listens there; use another port",
		"nonsense":              `the value is not an address to serve metrics on; expected host:port`,
		":99999":                `the value is not an address`,
		"127.0.0.1:":            `the value is not an address`,
		"127.0.0.1:http":        `the value is not an address`,
		"http://127.0.0.1:9464": `the value is not an address`,
		"http://localhost":      `the value is not an address`,
		"203.0.113.7:9464":      "cannot serve metrics on 203.0.113.7:9464: the host is not an address of this machine",
	} {
		if _, stop, err := m.Serve(t.Context(), address); err == nil {
			stop()
			t.Errorf("%s: it serves", address)
		} else if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	stop()
	if _, err := http.DefaultTransport.RoundTrip(request); err == nil { //nolint:bodyclose // there is no answer
		t.Error("it serves after stop")
	}
}

// The age of the queue grows while an outage lasts, also when receives bring
// nothing because everything is backed off.
func TestQueueAge(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_767_225_600_000)
	m := metrics.New("v1.0.0", func() time.Time { return now })
	transact := func(age time.Duration, v message.Verdict, fault message.Cause) {
		m.Transacted(&consume.Transaction{
			Report: ingest.Report{Messages: []message.Message{{HasSent: true, SentMillis: now.Add(-age).UnixMilli()}}, Verdicts: []message.Verdict{v}, Cause: fault},
			Ended:  now,
		})
	}
	wants := func(when, want string) {
		t.Helper()
		if _, page := get(t, m.Handler(), "/metrics"); !strings.Contains(page, "\nsluice_queue_age_seconds "+want+"\n") {
			t.Errorf("%s the age is not %s", when, want)
		}
	}
	wants("at the start", "0")
	transact(time.Minute, message.Verdict{Outcome: message.Stored}, message.CauseNone)
	wants("after a transaction", "60")
	m.Received(0, nil)
	wants("when nothing came", "0")
	transact(time.Hour, message.Verdict{Cause: message.CauseTransient}, message.CauseTransient)
	transact(time.Minute, message.Verdict{Cause: message.CauseTransient}, message.CauseTransient)
	now = now.Add(time.Hour)
	m.Received(0, nil)
	m.Counted(sqs.Counts{InFlight: 2})
	wants("in an outage", "7200")
	transact(time.Hour, message.Verdict{Outcome: message.Stored}, message.CauseNone)
	wants("after it", "3600")
	transact(time.Hour, message.Verdict{Cause: message.CauseTransient}, message.CauseTransient)
	m.Received(0, nil)
	m.Counted(sqs.Counts{})
	wants("when others have stored it", "0")
}
