package main_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/consume/metrics"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	now := time.Now()
	m := metrics.New("v1.0.0", func() time.Time { return now })
	server := httptest.NewServer(m.Handler())
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	port := address[strings.LastIndexByte(address, ':'):]

	for _, environ := range []map[string]string{
		{"SLUICE_METRICS_ADDR": address},
		{"SLUICE_METRICS_ADDR": port}, // as one listens
		{"SLUICE_METRICS_ADDR": "0.0.0.0" + port},
		{"SLUICE_METRICS_ADDR": address, "SLUICE_MODEL": "nosuch", "HTTP_PROXY": "http://127.0.0.1:1"},
	} {
		if code, stdout, stderr := run(t, environ, "", "health"); code != 0 || stdout != "ok\n" || stderr != "" {
			t.Errorf("%v: exit code %d, %q, %q", environ, code, stdout, stderr)
		}
	}
	if code, stdout, stderr := run(t, map[string]string{"SLUICE_METRICS_ADDR": "127.0.0.1:1"}, "", "health", "--metrics-addr", address); code != 0 || stdout != "ok\n" {
		t.Errorf("the flag does not win: exit code %d, %q, %q", code, stdout, stderr)
	}

	m.Unreachable(now.Add(-time.Hour), time.Time{})
	code, stdout, stderr := run(t, nil, "", "health", "--metrics-addr", address)
	if want := "sluice: not healthy: 503 Service Unavailable: the database is out of reach for 1h0m0s\n"; code != 1 || stdout != "" || stderr != want {
		t.Errorf("exit code %d, %q, %q; want %q", code, stdout, stderr, want)
	}
}

// A consumer that hangs is not well.
func TestHealthWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	code, _, stderr := run(t, nil, "", "health", "--timeout", "500ms", "--metrics-addr", strings.TrimPrefix(server.URL, "http://"))
	if code != 1 || !strings.Contains(stderr, "context deadline exceeded") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}
