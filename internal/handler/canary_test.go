package handler_test

import (
	"fmt"
	"strings"
	"testing"
)

// Canaries are values that are in messages and must be in no output: not in
// the answer, a log line, a metric or an error. (That a panic shows none is
// tested where one can be made: in internal/ingest.)
const (
	canaryIP     = "198.51.100.77"
	canaryDevice = "canary-device-88-41-0093"
	canaryUser   = "canary-user-7f3a"
	canaryKey    = "canary-key@example.com"
	canaryValue  = "canary-value-19"
	canaryLocale = "canary-locale"
	canaryText   = "canary-text"
)

// canaries are also what a canary may have become: the address as a number and
// as IPv6, and the masks, which a log needs as little.
func canaries() []string {
	return []string{
		"canary", canaryIP, "c633:644d", "c633644d", "3325256781", "CANARY", "63616e617279",
		sum(canaryIP), sum(canaryDevice),
	}
}

// canaryBody is a body of canaries with changes.
func canaryBody(change ...string) string {
	return body(append([]string{
		"user_id", quote(canaryUser), "ip", quote(canaryIP), "device_id", quote(canaryDevice), "device_type", `"canary-type"`,
		canaryKey, `{"` + canaryKey + `":` + quote(canaryValue) + `}`,
	}, change...)...)
}

// canaryTriggers make the database say, in every way that it has, what is in a
// row. The row's locale chooses the way.
const canaryTriggers = `
CREATE TABLE taken (user_id text PRIMARY KEY);
INSERT INTO taken VALUES ('` + canaryUser + `');
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'notice of %', NEW;
	RAISE WARNING 'warning of %', NEW.user_id;
	RAISE LOG 'log of %', NEW.user_id;
	CASE NEW.locale
	WHEN 'message' THEN RAISE EXCEPTION 'no % % %', NEW.user_id, NEW.masked_ip, NEW;
	WHEN 'detail' THEN RAISE EXCEPTION 'no' USING DETAIL = NEW.user_id, HINT = NEW.masked_device_id;
	WHEN 'own code' THEN RAISE EXCEPTION '%', NEW USING ERRCODE = 'SL001';
	WHEN 'cast' THEN PERFORM NEW.user_id::integer;
	WHEN 'date' THEN PERFORM NEW.user_id::date;
	WHEN 'unique' THEN INSERT INTO taken VALUES (NEW.user_id);
	WHEN 'execute' THEN EXECUTE 'SELECT ' || quote_literal(NEW.user_id) || '::integer';
	WHEN 'assert' THEN ASSERT false, NEW.user_id;
	WHEN 'moment' THEN RAISE EXCEPTION 'no %', NEW USING ERRCODE = 'serialization_failure';
	WHEN 'operator' THEN RAISE EXCEPTION 'no %', NEW USING ERRCODE = 'undefined_table';
	WHEN 'syntax' THEN EXECUTE 'SELECT ' || NEW.user_id || ' FROM FROM';
	WHEN 'column' THEN EXECUTE 'SELECT "' || NEW.user_id || '"';
	WHEN 'swallow' THEN RETURN NULL;
	ELSE
	END CASE;
	RETURN NEW;
END $$;
CREATE TRIGGER tell BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION tell();
ALTER TABLE user_logins ADD CONSTRAINT short CHECK (locale <> 'check');
`

func TestCanaries(t *testing.T) {
	t.Parallel()
	locale := func(name string) string { return canaryBody("locale", quote(name)) }
	var refused []string
	for _, way := range []string{"message", "detail", "own code", "cast", "date", "unique", "execute", "assert", "check", "xx"} {
		refused = append(refused, locale(way))
	}
	malformed := []string{
		canaryText, canaryBody()[:60], canaryBody() + canaryText, `"` + canaryText + `"`, `["` + canaryText + `"]`, "\ufeff\ufeff" + canaryBody(), `{"` + canaryKey + `":}`, `{"` + canaryKey + `"`, `{"` + canaryKey,
		canaryBody("z", `"\ud800`+canaryValue+`"`), canaryBody("z", `"\u0`+canaryValue+`"`), canaryBody("z", canaryText), canaryBody(`z","z`, quote(canaryValue)),
		canaryBody(canaryKey+`":1,"`+canaryKey, `1`), canaryBody("z", `{"`+canaryKey+`":1,"`+canaryKey+`":2}`), canaryBody("z", repeat(`{"`+canaryKey+`":`, 10_000)+"1"+repeat("}", 10_000)),
		canaryBody("User_ID", quote(canaryValue)), canaryBody("IP", quote(canaryIP)),
		canaryBody("user_id", "null"), canaryBody("user_id", `["`+canaryUser+`"]`), canaryBody("user_id", quote(repeat(canaryUser, 20))), canaryBody("user_id", quote(canaryUser+"\x00")),
		canaryBody("ip", quote(canaryIP+":443")), canaryBody("ip", quote(canaryText)), canaryBody("ip", `"::ffff:198.51.100.077"`), canaryBody("ip", "3325256781"), canaryBody("ip", `{"v4":"`+canaryIP+`"}`), canaryBody("ip", quote(canaryIP+"%"+canaryText)),
		canaryBody("device_id", "593475928"), canaryBody("device_id", quote(canaryDevice+"\x00")), canaryBody("device_id", `"`+canaryDevice+`\udfff"`), canaryBody("device_type", quote(repeat(canaryValue, 10))),
		canaryBody("app_version", quote(canaryText)), canaryBody("app_version", "3325256781"), canaryBody("app_version", `"3325256781"`), canaryBody("locale", quote(repeat(canaryLocale, 10))),
	}
	good := []string{canaryBody(), canaryBody("locale", quote(canaryLocale)), canaryBody("ip", `"::FFFF:C633:644D"`), canaryBody("locale", "null")}

	type batch struct {
		name    string
		bodies  []string
		failed  int  // how many come back; -1 for all
		failure bool // the invocation fails
		fifo    bool
	}
	batches := []batch{
		{name: "good", bodies: good},
		{name: "malformed", bodies: malformed, failed: -1},
		{name: "refused", bodies: refused, failure: true}, // no row passes, so no message is blamed for the trigger
		{name: "refused among good ones", bodies: append(append([]string{}, good...), refused...), failed: len(refused)},
		{name: "refused in a large batch", bodies: append(repeated(canaryBody(), 100), refused...), failed: len(refused)},
		{name: "refused on FIFO", bodies: append(append([]string{}, good...), refused...), failed: len(refused), fifo: true},
		{name: "discarded", bodies: []string{locale("swallow")}, failed: -1},
		{name: "a transient fault", bodies: append(good, locale("moment")), failed: 1},
		{name: "a configuration error", bodies: append(good, locale("operator")), failed: 1},
		{name: "a configuration error alone", bodies: []string{locale("operator")}, failure: true},
		{name: "a syntax error", bodies: append(good, locale("syntax")), failed: 1},
		{name: "a column that is not there", bodies: append(good, locale("column")), failed: 1},
		{name: "everything", bodies: append(append(append([]string{}, good...), malformed...), refused...), failed: len(malformed) + len(refused)},
	}
	for _, name := range loginModels {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, name)
			s.db.Exec(t, canaryTriggers)
			for _, b := range batches {
				t.Run(b.name, func(t *testing.T) {
					s.clear(t)
					var records []string
					for i, body := range b.bodies {
						if b.fifo {
							records = append(records, inGroup(i, id(i), body))
						} else {
							records = append(records, record(i, body, "messageAttributes", `{"`+canaryKey+`":{"stringValue":"`+canaryValue+`","dataType":"String"}}`))
						}
					}
					answer, err := s.watch(t, event(records...))
					if b.failure != (err != nil) {
						t.Fatalf("got %s, %v", answer, err)
					}
					if b.failure {
						return
					}
					failed, err := readAnswer(answer)
					if err != nil {
						t.Fatal(err)
					}
					want := b.failed
					if want < 0 {
						want = len(b.bodies)
					}
					if len(failed) != want {
						t.Errorf("%d came back, want %d: %s", len(failed), want, answer)
					}
				})
			}
			for i, e := range []string{
				canaryText, `"` + canaryText + `"`, `{"` + canaryKey + `":{"` + canaryKey + `":` + canaryText + `}}`, `[{"` + canaryKey + `":"\x` + canaryText + `"}]`, `{"` + canaryKey + `":` + quote(canaryBody()) + `}`, `{"Records":[{"messageId":"1","body":` + quote(canaryBody()), `{"Records":[{"messageId":["` + canaryText + `"]}]}`,
				`[{"messageId":"1","body":` + quote(canaryBody()) + `,"eventSource":"` + canaryText + `"}]`, `[` + quote(canaryBody()) + `]`, `{"Records":` + quote(canaryText) + `}`, `{"Records":[]}` + canaryText,
			} {
				t.Run(fmt.Sprintf("foreign event %d", i), func(t *testing.T) {
					if answer, err := s.watch(t, []byte(e)); err == nil {
						t.Errorf("got %s, want an error", answer)
					}
				})
			}
		})
	}
}

// watch invokes the handler and fails the test where a canary shows.
func (s *fixture) watch(t *testing.T, event []byte) ([]byte, error) {
	t.Helper()
	r := s.handler(t, nil)
	r.log.Take()
	answer, err := r.handler.Invoke(t.Context(), event)
	for what, text := range map[string]string{"the answer": string(answer), "the error": fmt.Sprintf("%v %+v", err, err), "the log": r.log.Take()} {
		for _, canary := range canaries() {
			if i := strings.Index(text, canary); i >= 0 {
				t.Errorf("%s holds %q: …%s…", what, canary, text[max(0, i-300):min(len(text), i+300)])
			}
		}
	}
	return answer, err
}

func repeated(text string, n int) (all []string) {
	for range n {
		all = append(all, text)
	}
	return all
}
