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

	if code, stdout, stderr := run(t, nil, "", "health", "--json", "--metrics-addr", address); code != 0 || stdout != `{"healthy":true,"says":"ok"}`+"\n" || stderr != "" {
		t.Errorf("--json: exit code %d, %q, %q", code, stdout, stderr)
	}

	m.Unreachable(now.Add(-time.Hour), time.Time{})
	code, stdout, stderr := run(t, nil, "", "health", "--metrics-addr", address)
	if want := "sluice: not healthy: the database is out of reach for 1h0m0s\n"; code != 1 || stdout != "" || stderr != want {
		t.Errorf("exit code %d, %q, %q; want %q", code, stdout, stderr, want)
	}
	if code, stdout, stderr := run(t, nil, "", "health", "--json", "--metrics-addr", address); code != 1 || stdout != `{"healthy":false,"says":"the database is out of reach for 1h0m0s"}`+"\n" || stderr != "" {
		t.Errorf("--json: exit code %d, %q, %q", code, stdout, stderr)
	}
}

// TestHealthWithoutAnAnswer has each kind of what is not a consumer that answers: plain words, and
// nothing of Go's own error.
func TestHealthWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	served := func(serve http.HandlerFunc) string {
		server := httptest.NewServer(serve)
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://")
	}
	hijacked := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = c.Write([]byte(answer))
			_ = c.Close()
		}
	}
	for name, tt := range map[string]struct {
		address, want string
		flags         []string
	}{
		"it hangs": {
			served(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
			"no answer from ADDRESS within 500ms; the consumer hangs, or the network lets nothing through",
			[]string{"--timeout", "500ms"},
		},
		"it hangs in its answer": {
			served(func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}),
			"no answer from ADDRESS within 500ms; the consumer hangs, or the network lets nothing through",
			[]string{"--timeout", "500ms"},
		},
		"nobody": {
			"127.0.0.1:1", "nobody listens at ADDRESS; start `sluice consume --forever --metrics-addr ADDRESS`, or check --metrics-addr", nil,
		},
		"another server": {served(http.NotFound), "ADDRESS is not a consumer of sluice: /healthz answers with HTTP 404; check --metrics-addr", nil},
		"no answer": {
			served(hijacked("")), "ADDRESS closed the connection without an answer; check --metrics-addr, and whether the consumer is ending", nil,
		},
		"not HTTP": {served(hijacked("SSH-2.0\r\n")), "ADDRESS does not answer as a consumer of sluice does; check --metrics-addr", nil},
		"unhealthy": {served(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "ill\x1b[31m", http.StatusServiceUnavailable)
		}), "not healthy: ill\uFFFD[31m", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := run(t, nil, "", append([]string{"health", "--metrics-addr", tt.address}, tt.flags...)...)
			if want := "sluice: " + strings.ReplaceAll(tt.want, "ADDRESS", tt.address) + "\n"; code != 1 || stdout != "" || stderr != want {
				t.Errorf("exit code %d, %q, %q; want %q", code, stdout, stderr, want)
			}
		})
	}
}
