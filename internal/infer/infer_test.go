package infer_test

import (
	"bufio"
	"os"
	"testing"

	"sluice/internal/infer"
)

func TestTry(t *testing.T) {
	s := infer.New(nil)
	f, err := os.Open(os.Getenv("TRY"))
	if err != nil {
		t.Skip()
	}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<24)
	for sc.Scan() {
		s.Add(sc.Bytes())
	}
	text, err := s.Draft("payments")
	t.Logf("%d %d %d %v\n%s", s.Bodies, s.NotJSON, s.NotObject, err, text)
}
