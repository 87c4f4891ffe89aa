package credentials_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
)

// ringOf is the secret of a keyring whose first id masks.
func ringOf(ids ...string) string {
	text := `{"primary":"` + ids[0] + `"`
	for _, id := range ids {
		text += `,"` + id + `":"` + id + strings.Repeat(canary, 3) + `"`
	}
	return text + "}"
}

func keyring(t *testing.T, i *installation) *mask.Keyring {
	t.Helper()
	k, err := i.MaskKeys.Keyring(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyringIsRereadAfterMinutes(t *testing.T) {
	t.Parallel()
	i := install(t, ringOf("k1"))
	first := keyring(t, i)
	if diff := cmp.Diff([]string{"k1"}, first.IDs()); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	i.turn(299 * time.Second)
	if keyring(t, i) != first || i.count() != 1 {
		t.Errorf("read again before its time: %d calls", i.count())
	}
	i.turn(time.Second)
	if keyring(t, i) != first {
		t.Error("the same text is another keyring: the pipeline would lose its memory")
	}
	if i.count() != 2 {
		t.Errorf("%d calls after 5 minutes, want 2", i.count())
	}
	i.set(answer{secret: ringOf("k2", "k1")})
	i.turn(5 * time.Minute)
	second := keyring(t, i)
	if diff := cmp.Diff([]string{"k2", "k1"}, second.IDs()); diff != "" {
		t.Errorf("ids after a change (-want +got):\n%s", diff)
	}
	if keyring(t, i) != second {
		t.Error("another pointer without a change")
	}
	if diff := cmp.Diff([]string{maskARN, maskARN, maskARN}, i.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if i.log.String() != "" {
		t.Errorf("logged: %s", i.log)
	}
}

// TestPublishedKeyWarns, once for each text of the secret.
func TestPublishedKeyWarns(t *testing.T) {
	t.Parallel()
	i := install(t, `{"primary":"k1","k1":"`+strings.Repeat("0123456789abcdef", 4)+`"}`)
	keyring(t, i)
	i.turn(5 * time.Minute)
	keyring(t, i)
	if got := strings.Count(i.log.String(), "the mask key k1 is the one of sluice's published examples"); got != 1 || i.count() != 2 {
		t.Errorf("read %d times, and warned %d times: %s", i.count(), got, i.log)
	}
}

func TestRereadThatFailsKeepsTheKeyring(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, want string
		then       answer
	}{
		{"throttled", "ThrottlingException", answer{code: "ThrottlingException", status: 400}},
		{"denied", "AccessDeniedException", answer{code: "AccessDeniedException", status: 400}},
		{"deleted", "InvalidRequestException", answer{code: "InvalidRequestException", status: 400}},
		{"no JSON any more", "not a JSON object", answer{secret: canary}},
		{"a key too short", "has 5 bytes", answer{secret: `{"primary":"k1","k1":"short"}`}},
		{"an answer of somebody else", "HTTP status 502", answer{status: 502, body: "<html>" + canary}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			i := install(t, ringOf("k1"), impatient())
			first := keyring(t, i)
			i.set(test.then)
			i.turn(10 * time.Minute)
			for range 20 {
				if keyring(t, i) != first {
					t.Fatal("the keyring is lost")
				}
				i.turn(time.Second)
			}
			if n, lines := i.count(), strings.Count(i.log.String(), "level=WARN"); n != 2 || lines != 1 {
				t.Errorf("%d calls and %d warnings in 20 seconds, want 2 and 1", n, lines)
			}
			if !strings.Contains(i.log.String(), test.want) || !strings.Contains(i.log.String(), "SLUICE_MASK_SECRET_ARN") {
				t.Errorf("the log says\n%swant %s", i.log, test.want)
			}
			i.set(answer{secret: ringOf("k2", "k1")})
			i.turn(10 * time.Second)
			if got := keyring(t, i).ID(); got != "k2" {
				t.Errorf("half a minute later the key is %s, want k2", got)
			}
		})
	}
}

func TestFirstKeyringThatFails(t *testing.T) {
	t.Parallel()
	i := install(t, `{"primary":"k1","k1":"`+canary+`"}`)
	_, err := i.MaskKeys.Keyring(t.Context())
	check(t, err, message.CauseConfiguration, "SLUICE_MASK_SECRET_ARN", "k1 has 16 bytes")
	i.set(answer{secret: ringOf("k1")})
	i.turn(5 * time.Second)
	keyring(t, i)
}

// TestKeyringWhileOneRereads: nobody waits for what is only read again.
func TestKeyringWhileOneRereads(t *testing.T) {
	t.Parallel()
	i := install(t, ringOf("k1"))
	first := keyring(t, i)
	i.set(answer{hang: true})
	i.turn(10 * time.Minute)
	reread := make(chan error, 1)
	go func() {
		k, err := i.MaskKeys.Keyring(t.Context())
		if err == nil && k != first {
			err = errors.New("another keyring")
		}
		reread <- err
	}()
	<-i.hanged
	if keyring(t, i) != first {
		t.Error("the keyring is lost")
	}
	select {
	case err := <-reread:
		t.Errorf("waited for somebody else's call, %v", err)
	default:
	}
	i.CloseClientConnections()
	i.set(answer{secret: ringOf("k1")})
	if err := <-reread; err != nil {
		t.Error(err)
	}
}
