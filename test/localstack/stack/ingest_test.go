//go:build localstack

// Package stack_test deploys the repository's template with CloudFormation, and sends 500 messages
// through its queue, mapping and function to a real Postgres, while something fails. `make
// localstack-test` runs the tests.
package stack_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/testing/pgtest"
)

func (k kind) deploy(t *testing.T) (*stack, *traffic) {
	t.Helper()
	return deploy(t, k, nil), &traffic{kind: k}
}

func TestNothingHappens(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		t.Run(k.model, func(t *testing.T) {
			t.Parallel()
			s, tr := k.deploy(t)
			tr.send(t, s, 0, 500)
			tr.wantAllSettled(t, s)
			redeliver(t, s, tr)
			tr.wantRows(t, s)
		})
	}
}

// redeliver sends messages to the function that it has stored already, as SQS does when a response
// is lost.
func redeliver(t *testing.T, s *stack, tr *traffic) {
	t.Helper()
	sentAt := map[string]string{}
	for _, row := range s.db.Rows(t, fmt.Sprintf("SELECT %s, (extract(epoch FROM sent_at) * 1000)::bigint FROM %s", tr.kind.keyColumn, tr.kind.model)) {
		sentAt[row[0]] = row[1]
	}
	var records []any
	for _, m := range tr.sent {
		key := m.key
		if key == "" {
			key = m.id
		}
		if !m.good() || len(records) == 50 {
			continue
		}
		records = append(records, map[string]any{
			"messageId": m.id, "receiptHandle": "stale", "body": m.body, "eventSource": "aws:sqs", "eventSourceARN": s.outputs["QueueArn"],
			"attributes": map[string]string{"ApproximateReceiveCount": "2", "SentTimestamp": sentAt[key]},
		})
	}
	answer, err := s.invoke(t, s.outputs["IngestFunctionName"], map[string]any{"Records": records})
	if err != nil {
		t.Fatalf("50 messages again: %v: %s", err, answer)
	}
	if got, want := strings.ReplaceAll(string(answer), " ", ""), `{"batchItemFailures":[]}`; got != want {
		t.Errorf("the answer to 50 messages that are stored already is %s, want %s", got, want)
	}
}

// TestDatabaseDown has an outage of the database that would make dead letters of good messages
// without back-off: at one receive for each visibility timeout of 8 s, the receives would be spent
// in little more than 24 s. With back-off the fourth receive comes after 52 s or more. The outage
// meets one batch: LocalStack polls for one batch after the other.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	const limit, outage = 4, 36 * time.Second
	s, tr := orders().deploy(t)
	s.setReceives(t, limit)
	tr.send(t, s, 0, 250)
	awaitEmpty(t, s)
	s.proxy.Refuse(true)
	s.proxy.Cut()
	end := time.Now().Add(outage)
	tr.send(t, s, 250, 20)
	time.Sleep(time.Until(end))
	s.proxy.Refuse(false)
	if n := s.metrics(t)["Returned"]; n < 20 {
		t.Errorf("the function returned %d messages, want 20 or more: it has hardly met the outage", n)
	}
	tr.send(t, s, 270, 230)
	tr.wantAllSettled(t, s)
}

// TestABlipCostsSeconds checks that a restart of the database under steady traffic costs seconds,
// with the template's visibility timeout: nearly all messages that meet it are stored within half a
// minute. Times are the database's. What messages took before the restart is added, for slow
// machines.
func TestABlipCostsSeconds(t *testing.T) {
	t.Parallel()
	const restart, enough = 6 * time.Second, 30 * time.Second
	server := pgtest.NewServer(t, pgtest.ServerConfig{})
	s, tr := deployFor(t, server.New(t), logins(), nil), &traffic{kind: logins()}
	s.set(t, "VisibilityTimeout", "200")
	s.db.Exec(t, "ALTER TABLE user_logins ADD stored_at timestamptz NOT NULL DEFAULT clock_timestamp()")
	now := func() string { return s.db.Rows(t, "SELECT clock_timestamp()::text")[0][0] }
	pace := time.NewTicker(500 * time.Millisecond)
	defer pace.Stop()
	sent := 0
	steadily := func(goesOn func() bool) {
		for ; goesOn(); sent += 10 {
			tr.send(t, s, sent, 10)
			<-pace.C
		}
	}
	steadily(func() bool { return sent < 100 || s.db.Count(t, "SELECT count(*) FROM user_logins") < 50 })
	began := now()
	s.proxy.Refuse(true)
	server.Shutdown(t)
	end := time.Now().Add(restart)
	steadily(func() bool { return time.Now().Before(end) })
	server.Resume(t)
	s.db = server.Has(t, s.db)
	s.proxy.Redirect(t, s.db.URL)
	s.proxy.Refuse(false)
	over := now()
	last := sent + 40
	steadily(func() bool { return sent < last })
	tr.wantAllSettled(t, s)

	usual := s.db.Rows(t, "SELECT max(stored_at - sent_at)::text FROM user_logins WHERE stored_at < $1::timestamptz", began)[0][0]
	got := s.db.Rows(t, `SELECT count(*), count(*) FILTER (WHERE stored_at <= $2::timestamptz + $3::interval + $4::interval), max(stored_at - $2::timestamptz)::text
		FROM user_logins WHERE stored_at >= $1::timestamptz AND sent_at < $2::timestamptz`, began, over, enough.String(), usual)[0]
	met, soon := atoi(t, got[0]), atoi(t, got[1])
	t.Logf("the restart met %d messages, of which %d were returned; %d were stored in time, the last one %s after it; before it they took up to %s",
		met, s.metrics(t)["Returned"], soon, got[2], usual)
	if met < 50 || soon*100 < met*95 {
		t.Errorf("the restart met %d messages, and %d of them were stored within %v after it, want 95 %% of 50 or more", met, soon, enough)
	}
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPasswordRotated changes the database's password. The secret follows only after the function
// has met the new password.
func TestPasswordRotated(t *testing.T) {
	t.Parallel()
	s, tr := orders().deploy(t)
	tr.send(t, s, 0, 250)
	s.awaitRows(t, tr, 50)
	s.rotatePassword(t, func() {
		tr.send(t, s, 250, 250)
		s.awaitReturned(t, 100)
	})
	tr.wantAllSettled(t, s)
	if logs := strings.Join(s.logged(t), ""); !strings.Contains(logs, "DATABASE_SECRET_ARN") {
		t.Errorf("no line of the function's log names the secret whose login was refused; its end:\n%s", tail(s.logged(t)))
	}
}

// TestMaskKeyRotated adds a second mask key in the middle. `sluice mask` finds a person's rows
// from before and after.
func TestMaskKeyRotated(t *testing.T) {
	t.Parallel()
	s, tr := logins().deploy(t)
	tr.send(t, s, 0, 250)
	awaitEmpty(t, s)
	s.rotateMaskKey(t, "k2")
	s.renew(t) // else a warm function reads the secret again when it is 5 minutes old
	tr.send(t, s, 250, 250)
	tr.wantAllSettled(t, s)

	for _, field := range []struct {
		name, column string
		value        func(i int) string
	}{
		{"ip", "masked_ip", loginIP},
		{"device_id", "masked_device_id", loginDevice},
	} {
		for person := range 7 {
			want := map[string]int{"k1": 0, "k2": 0}
			for i, m := range tr.sent {
				if m.good() && i%7 == person {
					want[map[bool]string{true: "k1", false: "k2"}[i < 250]]++
				}
			}
			out := sluice(t, field.value(person), map[string]string{"SLUICE_MASK_SECRET_ARN": s.outputs["MaskSecretArn"]}, "mask", field.name)
			got := map[string]int{}
			for line := range strings.Lines(out) {
				id, pseudonym, _ := strings.Cut(strings.TrimSpace(line), "\t")
				got[id] = int(s.db.Count(t, fmt.Sprintf("SELECT count(*) FROM user_logins WHERE mask_key = $1 AND %s = $2", field.column), id, pseudonym))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("rows of person %d by the pseudonyms of %s: %v, want %v", person, field.name, got, want)
			}
		}
	}
}

// TestFIFO has a queue with seven groups. Each stops at a rejected message and continues with the
// next delivery.
func TestFIFO(t *testing.T) {
	t.Parallel()
	k := logins()
	s, tr := deploy(t, k, map[string]string{"QueueType": "fifo"}), &traffic{kind: k, groups: 7}
	tr.send(t, s, 0, 100)
	tr.wantAllSettled(t, s)
}

// TestPolicies deploys with most parameters, and checks the policies that the queues get of them.
// (LocalStack does not enforce them.)
func TestPolicies(t *testing.T) {
	t.Parallel()
	const (
		topic  = "arn:aws:sns:us-east-1:000000000000:logins"
		rule   = "arn:aws:events:us-east-1:000000000000:rule/logins"
		reader = "arn:aws:iam::000000000000:role/support"
		key    = "arn:aws:kms:us-east-1:000000000000:key/1"
	)
	s := deploy(t, logins(), map[string]string{
		"SenderArns": topic + "," + rule, "SenderPrincipals": "111111111111,222222222222", "QueueReaderArns": reader, "DeadLetterReaderArns": reader,
		"SecretsKmsKeyArns": key, "PermissionsBoundaryArn": "arn:aws:iam::000000000000:policy/boundary", "RolePath": "/teams/data/", "Tracing": "Active",
		"ReservedConcurrency": "MaximumConcurrency", "MaximumConcurrency": "3", "VisibilityTimeoutSeconds": "300", "RetentionSeconds": "86400", "MaximumMessageBytes": "1044480",
	})
	role := s.outputs["IngestRoleArn"]
	if want := ":role/teams/data/" + s.name; !strings.Contains(role, want) {
		t.Errorf("the function's role is %s, want it to contain %s", role, want)
	}
	for _, q := range []struct{ url, want string }{
		{s.outputs["QueueUrl"], fmt.Sprint(
			"Deny * [sqs:ReceiveMessage sqs:DeleteMessage sqs:PurgeQueue] map[ArnNotEquals:map[aws:PrincipalArn:["+role+" "+reader+"]]]\n",
			"Allow map[AWS:["+reader+"]] [sqs:ReceiveMessage sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueAttributes sqs:GetQueueUrl] <nil>\n",
			"Allow map[Service:[sns.amazonaws.com events.amazonaws.com]] sqs:SendMessage map[ArnEquals:map[aws:SourceArn:["+topic+" "+rule+"]]]\n",
			"Allow map[AWS:[111111111111 222222222222]] [sqs:SendMessage sqs:GetQueueAttributes sqs:GetQueueUrl] <nil>\n",
			"Deny * sqs:* map[Bool:map[aws:SecureTransport:false]]\n")},
		{s.outputs["DeadLetterQueueUrl"], fmt.Sprint(
			"Deny * [sqs:ReceiveMessage sqs:DeleteMessage sqs:PurgeQueue] map[ArnNotEquals:map[aws:PrincipalArn:["+reader+"]]]\n",
			"Allow map[AWS:["+reader+"]] [sqs:ReceiveMessage sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueAttributes sqs:GetQueueUrl] <nil>\n",
			"Deny * sqs:* map[Bool:map[aws:SecureTransport:false]]\n")},
	} {
		var answer struct{ Attributes map[string]string }
		call(t, "sqs", "GetQueueAttributes", map[string]any{"QueueUrl": q.url, "AttributeNames": []string{"Policy"}}, &answer)
		var policy struct {
			Statement []struct {
				Effect                       string
				Principal, Action, Condition any
			}
		}
		if err := json.Unmarshal([]byte(answer.Attributes["Policy"]), &policy); err != nil {
			t.Fatalf("the policy of %s: %v: %s", q.url, err, answer.Attributes["Policy"])
		}
		got := ""
		for _, s := range policy.Statement {
			got += fmt.Sprintln(s.Effect, s.Principal, s.Action, s.Condition)
		}
		if diff := cmp.Diff(q.want, got); diff != "" {
			t.Errorf("the policy of %s (-want +got):\n%s", q.url, diff)
		}
	}
}

// awaitRows waits until the function has stored rows.
func (s *stack) awaitRows(t *testing.T, tr *traffic, least int64) {
	t.Helper()
	eventually(t, time.Minute, func() string {
		if n := s.db.Count(t, "SELECT count(*) FROM "+tr.kind.model); n < least {
			return fmt.Sprintf("%d rows of %d", n, least)
		}
		return ""
	})
}

// awaitReturned waits until messages were returned that often in total.
func (s *stack) awaitReturned(t *testing.T, least int) {
	t.Helper()
	eventually(t, time.Minute, func() string {
		if n := s.metrics(t)["Returned"]; n < least {
			return fmt.Sprintf("%d messages were returned, not yet %d; the end of the function's log:\n%s", n, least, tail(s.logged(t)))
		}
		return ""
	})
}
