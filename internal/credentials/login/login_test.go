package login_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/credentials/login"
)

const canary = "canary-Pa55-w0rd"

// TestPasswordIsNeverPrinted prints logins in every way that comes to mind.
func TestPasswordIsNeverPrinted(t *testing.T) {
	t.Parallel()
	l := login.Login{Host: "db", Port: 5432, User: "sluice", Password: login.NewPassword(canary), Database: "app"}
	type hidden struct {
		l    login.Login
		next *login.Login
		any  any
	}
	outer := hidden{l, &l, l.Password}
	var out strings.Builder
	for _, v := range []any{l, &l, l.Password, &l.Password, outer, &outer, []login.Login{l}, map[string]login.Password{"p": l.Password}, []any{outer}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p", "%t"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, v)
		fmt.Fprintln(&out, errors.Join(fmt.Errorf("connect: %v", v)))
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			log := slog.New(h)
			log.Info("login", "value", v, slog.Group("group", "value", v))
			log.With("value", v).Info("login")
		}
		if text, err := json.Marshal(v); err == nil {
			out.Write(text)
		}
		if text, err := xml.Marshal(v); err == nil {
			out.Write(text)
		}
	}
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("the password is in %s", out.String())
	}
	if got, want := fmt.Sprintf("%v %+v %#v %s", l.Password, l.Password, l.Password, l.Password), strings.Repeat(" [redacted]", 4)[1:]; got != want {
		t.Errorf("prints as %q, want %q", got, want)
	}
	var text bytes.Buffer
	slog.New(slog.NewJSONHandler(&text, nil)).Info("x", "login", l)
	if !strings.Contains(text.String(), `"Password":"[redacted]"`) {
		t.Errorf("JSON is %s", text.String())
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	var none login.Password
	if got := none.Reveal(); got != "" {
		t.Errorf("the zero password is %q", got)
	}
	if got := login.NewPassword(canary).Reveal(); got != canary {
		t.Errorf("revealed %q, want %q", got, canary)
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	l := login.Login{Host: "db", Port: 5432, User: "sluice", Password: login.NewPassword("one"), Database: "app", Verified: true}
	same := l
	same.Password = login.NewPassword("one")
	if !l.Equal(same) {
		t.Error("equal logins differ")
	}
	for name, change := range map[string]func(*login.Login){
		"host":     func(l *login.Login) { l.Host = "other" },
		"port":     func(l *login.Login) { l.Port = 1 },
		"user":     func(l *login.Login) { l.User = "other" },
		"password": func(l *login.Login) { l.Password = login.NewPassword("two") },
		"none":     func(l *login.Login) { l.Password = login.Password{} },
		"database": func(l *login.Login) { l.Database = "other" },
		"verified": func(l *login.Login) { l.Verified = false },
		"several":  func(l *login.Login) { l.Several = true },
	} {
		other := l
		change(&other)
		if l.Equal(other) {
			t.Errorf("%s is not compared", name)
		}
	}
}
