package postgres_test

import "testing"

// TestASessionThatIdles: a store keeps its connection, which keeps a database awake that would go
// to sleep. The server may end it: the next batch connects again.
func TestASessionThatIdles(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{})
	s.insert(good(1)).must()
	if n := s.sessions("true"); n != 1 {
		t.Errorf("%d sessions are open after a batch, want 1", n)
	}
	s.store.Close()
	s.store = openStore(t, withOption(t, s.proxy.URL, "-c idle_session_timeout=100ms"), events)
	for id := range int64(3) {
		s.insert(good(id + 2)).must().inserts(1)
		eventually(t, "the server ends the idle session", func() bool { return s.sessions("true") == 0 })
	}
	if got := s.stored(); got != "1-4" {
		t.Errorf("stored %s, want 1-4", got)
	}
}
