package credentials_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/credentials"
	"example.com/owner/sluice/internal/credentials/login"
	"example.com/owner/sluice/internal/message"
)

func TestLoginOfTheURL(t *testing.T) {
	t.Parallel()
	c := configured(credentials.Options{})
	if got := fetch(t, c); !got.Equal(url) {
		t.Errorf("got %+v, want the URL's login", got)
	}
	_, err := c.Database.Refresh(t.Context(), url)
	check(t, err, message.CauseConfiguration, "DATABASE_URL")
	_, err = c.MaskKeys.Keyring(t.Context())
	check(t, err, message.CauseConfiguration, "SLUICE_MASK_SECRET_ARN")
}

func TestSecretGoesBeforeTheURL(t *testing.T) {
	t.Parallel()
	all := login.Login{Host: "db.example", Port: 5433, User: "sluice", Password: login.NewPassword("p@ss:/?#[] %41\u00e9"), Database: "app", Verified: true}
	with := func(change func(*login.Login)) login.Login {
		l := all
		change(&l)
		return l
	}
	const rest = `"username":"sluice","password":"p@ss:/?#[] %41\u00e9","host":"db.example","dbname":"app"`
	managed := with(func(l *login.Login) { l.Host, l.Port, l.Database = url.Host, url.Port, url.Database })
	for _, test := range []struct {
		name, secret string
		url, want    login.Login
	}{
		{"all of it", `{` + rest + `,"port":5433,"engine":"postgres","dbClusterIdentifier":"x"}`, url, all},
		{"a port as a string", `{` + rest + `,"port":"5433","engine":"aurora-postgresql"}`, url, all},
		{"a port with spaces", `{` + rest + `,"port":" 5433 "}`, url, all},
		{"no port", `{` + rest + `}`, url, with(func(l *login.Login) { l.Port = 5432 })},
		{"a null port", `{` + rest + `,"port":null}`, url, with(func(l *login.Login) { l.Port = 5432 })},
		{"an empty port", `{` + rest + `,"port":""}`, url, with(func(l *login.Login) { l.Port = 5432 })},
		{"as RDS manages it", `{"username":"sluice","password":"p@ss:/?#[] %41\u00e9"}`, url, managed},
		{"null fields", `{"username":"sluice","password":"p@ss:/?#[] %41\u00e9","host":null,"dbname":null}`, url, managed},
		{"values of all kinds beside", `{` + rest + `,"port":5433,"a":{"b":[1,2]},"c":true,"d":null}`, url, all},
		{"no URL", `{` + rest + `,"port":5433}`, login.Login{Port: 5432, Verified: true}, all},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			i := install(t, test.secret)
			for _, binary := range []bool{false, true} {
				i.set(answer{secret: test.secret, binary: binary})
				got, err := i.Database.Fetch(t.Context(), test.url)
				if err != nil {
					t.Fatal(err)
				}
				if !got.Equal(test.want) {
					t.Errorf("got %+v with password %q, want %+v", got, got.Password.Reveal(), test.want)
				}
				i.turn(time.Hour)
			}
		})
	}
}

func TestSecretThatIsNone(t *testing.T) {
	t.Parallel()
	const c = canary
	for _, test := range []struct{ name, secret, want string }{
		{"a bare password", c, "not a JSON object"},
		{"nothing", " ", "not a JSON object"},
		{"a string", `"` + c + `"`, "not a JSON object"},
		{"a list", `["` + c + `"]`, "not a JSON object"},
		{"cut short", `{"username":"sluice","password":"` + c, `"password"`},
		{"cut at a name", `{"username":"sluice","passw` + c, "not valid JSON"},
		{"cut at the end", `{"username":"sluice","password":"` + c + `"`, "not valid JSON"},
		{"cut in what is skipped", `{"x":{"` + c, "not valid JSON"},
		{"something behind", `{"username":"sluice","password":"` + c + `"} ` + c, "follows"},
		{"twice a name", `{"username":"sluice","password":"` + c + `","password":"` + c + `"}`, "not valid JSON"},
		{"no user", `{"password":"` + c + `"}`, `no "username"`},
		{"no password", `{"username":"` + c + `"}`, `no "password"`},
		{"a null password", `{"username":"` + c + `","password":null}`, `no "password"`},
		{"a password that is a number", `{"username":"` + c + `","password":12345}`, `"password" is not a string`},
		{"a user that is an object", `{"username":{"` + c + `":1}}`, `"username" is not a string`},
		{"a host that is a list", `{"host":["` + c + `"]}`, `"host" is not a string`},
		{"a port of words", `{"port":"` + c + `"}`, `"port" is not a number`},
		{"port 0", `{"port":0}`, `"port" is not a number`},
		{"port 65536", `{"port":65536}`, `"port" is not a number`},
		{"a port with a fraction", `{"port":5432.5}`, `"port" is not a number`},
		{"a port that is true", `{"port":true}`, `"port" is not a number`},
		{"of another database", `{"username":"sluice","password":"` + c + `","engine":"mysql"}`, `"engine" is not postgres`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			i := install(t, test.secret)
			checkFetch(t, i.Credentials, message.CauseConfiguration, "DATABASE_SECRET_ARN", test.want)
			// A configuration error stands for a while: nobody fixes it within a moment.
			checkFetch(t, i.Credentials, message.CauseConfiguration, test.want)
			if n := i.count(); n != 1 {
				t.Errorf("%d calls, want 1", n)
			}
			i.set(answer{secret: secretOf("good")})
			i.turn(5 * time.Second)
			if got := fetch(t, i.Credentials).User; got != "sluice" {
				t.Errorf("fixed, but the user is %q", got)
			}
		})
	}
}

func TestNobodyNamesAHost(t *testing.T) {
	t.Parallel()
	i := install(t, `{"username":"sluice","password":"`+canary+`"}`)
	_, err := i.Database.Fetch(t.Context(), login.Login{Verified: true})
	check(t, err, message.CauseConfiguration, "names a host")
}

func TestLoginIsFetchedOnceAndKept(t *testing.T) {
	t.Parallel()
	i := install(t, secretOf("one"))
	if n := i.count(); n != 0 {
		t.Errorf("%d calls before anything is needed", n)
	}
	for range 3 {
		fetch(t, i.Credentials)
		i.turn(time.Minute)
	}
	if diff := cmp.Diff([]string{databaseARN}, i.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"eu-central-1/secretsmanager"}, i.scopes); diff != "" {
		t.Errorf("signed for (-want +got):\n%s", diff)
	}
	// A database that moved is found by new connections within minutes.
	i.set(answer{secret: strings.Replace(secretOf("one"), "db.example", "moved.example", 1)})
	i.turn(2 * time.Minute)
	if got := fetch(t, i.Credentials).Host; got != "moved.example" {
		t.Errorf("after 5 minutes the host is %s, want moved.example", got)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	i := install(t, secretOf("one"))
	used := fetch(t, i.Credentials)
	i.turn(time.Minute)
	i.set(answer{secret: secretOf("two")})
	next, err := i.Database.Refresh(t.Context(), used)
	if err != nil {
		t.Fatal(err)
	}
	want := used
	want.Password = login.NewPassword("two-" + canary)
	if !next.Equal(want) {
		t.Errorf("got %+v with %q, want %q", next, next.Password.Reveal(), want.Password.Reveal())
	}
	if got := fetch(t, i.Credentials); !got.Equal(want) {
		t.Error("the next connection has the old login")
	}
	// A straggler that was refused with the old one needs no call.
	if got, err := i.Database.Refresh(t.Context(), used); err != nil || !got.Equal(want) {
		t.Errorf("a straggler got %+v, %v", got, err)
	}
	if n := i.count(); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

// TestRotationGap: the database has the new password, the secret not yet.
func TestRotationGap(t *testing.T) {
	t.Parallel()
	i := install(t, secretOf("one"))
	used := fetch(t, i.Credentials)
	i.turn(time.Minute)
	for _, step := range []struct {
		name      string
		turn      time.Duration
		secret    string
		wantCalls int
		want      bool
	}{
		{"in the gap", 0, "one", 2, false},
		{"a retry at once does not ask", time.Second, "one", 2, false},
		{"nor does it when the gap is over", 3900 * time.Millisecond, "two", 2, false},
		{"5 seconds later it does", 100 * time.Millisecond, "two", 3, true},
	} {
		i.turn(step.turn)
		i.set(answer{secret: secretOf(step.secret)})
		next, err := i.Database.Refresh(t.Context(), used)
		if step.want {
			if err != nil || next.Password.Reveal() != "two-"+canary {
				t.Errorf("%s: got %+v, %v", step.name, next, err)
			}
		} else {
			check(t, err, message.CauseConfiguration, "DATABASE_SECRET_ARN", "rotation")
		}
		if n := i.count(); n != step.wantCalls {
			t.Errorf("%s: %d calls, want %d", step.name, n, step.wantCalls)
		}
	}
}

// TestRefusedAtOnce: a login that was fetched a moment ago is not fetched
// again when it is wrong.
func TestRefusedAtOnce(t *testing.T) {
	t.Parallel()
	i := install(t, secretOf("one"))
	used := fetch(t, i.Credentials)
	_, err := i.Database.Refresh(t.Context(), used)
	check(t, err, message.CauseConfiguration, "correct them")
	if n := i.count(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

func TestHundredRefusedLoginsAreOneFetch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		then answer
		want string // "" is a new login
	}{
		{"rotated", answer{secret: secretOf("two"), pause: 50 * time.Millisecond}, ""},
		{"unchanged", answer{secret: secretOf("one"), pause: 50 * time.Millisecond}, "no other user and password"},
		{"denied", answer{code: "AccessDeniedException", status: 400, pause: 50 * time.Millisecond}, "AccessDenied"},
		{"broken", answer{code: "ServiceUnavailable", status: 503, pause: 50 * time.Millisecond}, "ServiceUnavailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			i := install(t, secretOf("one"), impatient())
			used := fetch(t, i.Credentials)
			i.turn(time.Minute)
			i.set(test.then)
			for _, err := range together(100, func() error {
				next, err := i.Database.Refresh(t.Context(), used)
				if err == nil && next.Equal(used) {
					err = errors.New("the refused login again")
				}
				return err
			}) {
				switch {
				case test.want == "" && err != nil:
					t.Error(err)
				case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
					t.Errorf("got %v, want %s", err, test.want)
				}
			}
			if n := i.count(); n != 2 {
				t.Errorf("%d calls, want 2", n)
			}
		})
	}
}

func TestHundredFirstFetchesAreOne(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		then answer
		want message.Cause
	}{
		{"good", answer{secret: secretOf("one"), pause: 100 * time.Millisecond}, message.CauseNone},
		{"denied", answer{code: "AccessDeniedException", status: 400, pause: 100 * time.Millisecond}, message.CauseConfiguration},
		{"broken", answer{code: "InternalServiceError", status: 500, pause: 100 * time.Millisecond}, message.CauseTransient},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			i := install(t, "", impatient())
			i.set(test.then)
			// All wait for the first one, since the server pauses; one that
			// comes late all the same may ask once more.
			for _, err := range together(100, func() error {
				_, err := i.Database.Fetch(t.Context(), url)
				return err
			}) {
				if err != nil && causeOf(err) != test.want || err == nil && test.want != "" {
					t.Errorf("got %v, want cause %q", err, test.want)
				}
			}
			if n := i.count(); n > 2 {
				t.Errorf("%d calls, want 1", n)
			}
		})
	}
}

// together runs n at once and returns what each returned.
func together(n int, f func() error) []error {
	var wg sync.WaitGroup
	errs, start := make([]error, n), make(chan struct{})
	for j := range n {
		wg.Go(func() {
			<-start
			errs[j] = f()
		})
	}
	close(start)
	wg.Wait()
	return errs
}

func TestRefreshThatFails(t *testing.T) {
	t.Parallel()
	i := install(t, secretOf("one"), impatient())
	used := fetch(t, i.Credentials)
	i.turn(time.Minute)
	i.set(answer{code: "ThrottlingException", status: 400})
	for range 4 {
		_, err := i.Database.Refresh(t.Context(), used)
		check(t, err, message.CauseTransient, "ThrottlingException")
	}
	if n := i.count(); n != 2 {
		t.Errorf("%d calls, want 2: a throttled refresh is not repeated at once", n)
	}
	i.set(answer{secret: secretOf("two")})
	i.turn(5 * time.Second)
	if next, err := i.Database.Refresh(t.Context(), used); err != nil || next.Equal(used) {
		t.Errorf("got %+v, %v", next, err)
	}
}

func TestRereadThatFailsKeepsTheLogin(t *testing.T) {
	t.Parallel()
	i := install(t, secretOf("one"), impatient())
	want := fetch(t, i.Credentials)
	i.set(answer{code: "AccessDeniedException", status: 400})
	i.turn(time.Hour)
	for range 3 {
		if got := fetch(t, i.Credentials); !got.Equal(want) {
			t.Errorf("got %+v", got)
		}
	}
	if n, lines := i.count(), strings.Count(i.log.String(), "level=WARN"); n != 2 || lines != 1 {
		t.Errorf("%d calls and %d warnings, want 2 and 1:\n%s", n, lines, i.log)
	}
	for _, part := range []string{"variable=DATABASE_SECRET_ARN", "age_seconds=3600", "AccessDeniedException"} {
		if !strings.Contains(i.log.String(), part) {
			t.Errorf("the log does not say %s:\n%s", part, i.log)
		}
	}
	i.turn(30 * time.Second)
	fetch(t, i.Credentials)
	if n := i.count(); n != 3 {
		t.Errorf("%d calls half a minute later, want 3", n)
	}
}

func TestCallsEndWithTheContext(t *testing.T) {
	t.Parallel()
	i := install(t, "")
	i.set(answer{hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	errs := together(5, func() error {
		_, err := i.Database.Fetch(ctx, url)
		return err
	})
	for _, err := range errs {
		check(t, err, message.CauseTransient, "no time left")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v hides the caller's deadline", err)
		}
	}
	// That one ran out of time says nothing to the next one.
	i.set(answer{secret: secretOf("one")})
	fetch(t, i.Credentials)
}

// TestOneWhoLeavesTakesNobodyAlong: the caller who fetches gives up, and the
// one who waited for it fetches.
func TestOneWhoLeavesTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	i := install(t, "")
	i.set(answer{hang: true})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := i.Database.Fetch(ctx, url)
		first <- err
	}()
	<-i.hanged
	i.set(answer{secret: secretOf("one")})
	go func() {
		_, err := i.Database.Fetch(t.Context(), url)
		second <- err
	}()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first got %v, want its own end", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the second got %v", err)
	}
}

func TestHangIsTriedTwice(t *testing.T) {
	t.Parallel()
	i := install(t, "", attempt(2*time.Second))
	i.set(answer{hang: true})
	_, err := i.Database.Fetch(t.Context(), url)
	<-i.hanged
	<-i.hanged
	check(t, err, message.CauseTransient, "no answer in time", "VPC endpoint", region)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("a limit of this package looks like the caller's deadline")
	}
	if n := i.count(); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}

func TestRereadDoesNotEatTheDeadline(t *testing.T) {
	t.Parallel()
	i := install(t, secretOf("one"))
	want := fetch(t, i.Credentials)
	i.set(answer{hang: true})
	i.turn(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	got, err := i.Database.Fetch(ctx, url)
	if err != nil || !got.Equal(want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if ctx.Err() != nil {
		t.Error("no time is left")
	}
	if !strings.Contains(i.log.String(), "no answer in time") {
		t.Errorf("the log does not say why:\n%s", i.log)
	}
}

func TestSecretOfAnotherRegion(t *testing.T) {
	t.Parallel()
	m := newManager(t, secretOf("one"))
	c := configured(credentials.Options{
		DatabaseSecretARN: strings.Replace(databaseARN, region, "us-west-2", 1),
		AWS:               load(append(m.sdk(), config.WithRegion("ap-south-1"))...),
	})
	fetch(t, c)
	if diff := cmp.Diff([]string{"us-west-2/secretsmanager"}, m.scopes); diff != "" {
		t.Errorf("signed for (-want +got):\n%s", diff)
	}
}

// TestNothingPrintsASecret prints all that holds one, after it was fetched.
func TestNothingPrintsASecret(t *testing.T) {
	t.Parallel()
	i := install(t, secretOf("one"))
	l := fetch(t, i.Credentials)
	iam := configured(credentials.Options{DatabaseIAMAuth: true, AWS: load(i.sdk()...)})
	token := fetch(t, iam)
	i.set(answer{secret: `{"primary":"k1","k1":"` + strings.Repeat(canary, 3) + `"}`})
	keys, err := i.MaskKeys.Keyring(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, v := range []any{i.Credentials, i.Database, *i.Database, i.MaskKeys, *i.MaskKeys, l, &l, keys, *keys, token, iam, iam.Database, *iam.Database} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if text, err := json.Marshal(v); err == nil {
			out.Write(text)
		}
	}
	for _, secret := range []string{canary, fmt.Sprintf("%x", canary), "X-Amz-Signature"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s is in %s", secret, out.String())
		}
	}
}
