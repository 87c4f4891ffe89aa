package main_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	command "example.com/owner/sluice/cmd/sluice"
)

// A signal ends the demo with one word, not with what the server that it ends says of it.
func TestDemoStopped(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"demo"}, {"demo", "--database", "sqlite:"}} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var said bytes.Buffer
		if code := command.Run(ctx, args, nil, strings.NewReader(""), io.Discard, &said); code != 1 || said.String() != "sluice: stopped\n" {
			t.Errorf("%s: exit code %d, %s", args, code, said.String())
		}
	}
}
