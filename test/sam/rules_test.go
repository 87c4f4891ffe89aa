// Package sam_test reads template.yaml as data and checks rules that the linters do not know: what
// AWS accepts but messages do not survive, what a role may do, and where the template and the code
// must agree. A rule states an invariant and does not repeat the template. Each rule has mutations
// of the template that must break it.
package sam_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/emf"
	"example.com/owner/sluice/internal/sqs"
)

// scenarios are the parameters of stacks that people would deploy.
var scenarios = withArchitecture(map[string]map[string]string{
	"standard":        {"DatabaseSecretArn": writerSecret},
	"password in URL": {"DatabaseUrl": "postgres://writer:secret@db.example.com:5432/app"},
	"fifo":            {"DatabaseSecretArn": writerSecret, "QueueType": "fifo"},
	"existing queue":  {"DatabaseSecretArn": writerSecret, "ExistingQueueArn": existing},
	"existing fifo":   {"DatabaseSecretArn": writerSecret, "ExistingQueueArn": existing + ".fifo"},
	"existing, kind":  {"DatabaseSecretArn": writerSecret, "ExistingQueueArn": existing, "QueueType": "fifo"}, // the ARN decides
	"IAM":             {"DatabaseUrl": "postgres://writer@db.example.com:5432/app", "DatabaseResourceId": "db-ABC", "DatabaseUser": "writer", "MigrateDatabaseUrl": "postgres://owner@db.example.com:5432/app", "MigrateUser": "owner"},
	"IAM, own secret": {"DatabaseUrl": "postgres://writer@db.example.com:5432/app", "DatabaseResourceId": "prx-ABC", "DatabaseUser": "writer", "MigrateSecretArn": ownerSecret},
	"unkeyed":         {"DatabaseSecretArn": writerSecret, "UnkeyedMasks": "true"},
	"existing masks":  {"DatabaseSecretArn": writerSecret, "MaskSecretArn": maskSecret},
	"two roles":       {"DatabaseSecretArn": writerSecret, "MigrateSecretArn": ownerSecret},
	"no migrate":      {"DatabaseSecretArn": writerSecret, "WithMigrateFunction": "false"},
	"private network": {"DatabaseSecretArn": writerSecret, "SubnetIds": "subnet-1a,subnet-2b", "SecurityGroupIds": "sg-1a"},
	"own keys": {
		"DatabaseSecretArn": writerSecret, "QueueKmsKeyArn": queueKey, "SecretsKmsKeyArns": secretsKey + "," + secretsKey + "2",
		"MaskSecretKmsKeyArn": maskKeyKey, "EnvironmentKmsKeyArn": environmentKey, "LogsKmsKeyArn": logsKey,
	},
	"senders":      {"DatabaseSecretArn": writerSecret, "SenderArns": topic + ",arn:aws:events:eu-central-1:123456789012:rule/bus/logins", "SenderPrincipals": "210987654321,arn:aws:iam::210987654321:role/shop"},
	"organization": {"DatabaseSecretArn": writerSecret, "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary", "RolePath": "/teams/data/", "GradualDeployment": "AllAtOnce", "Revision": "v1"},
	"reserved":     {"DatabaseSecretArn": writerSecret, "ReservedConcurrency": "MaximumConcurrency", "MaximumConcurrency": "7"},
	"pollers":      {"DatabaseSecretArn": writerSecret, "MinimumPollers": "2", "MaximumPollers": "20"},
	"traced":       {"DatabaseSecretArn": writerSecret, "Tracing": "Active"},
	"other limits": {"DatabaseSecretArn": writerSecret, "VisibilityTimeoutSeconds": "900", "RetentionSeconds": "1123200", "MaximumMessageBytes": "1044480"},
	"readers":      {"DatabaseSecretArn": writerSecret, "DeadLetterReaderArns": readers, "QueueReaderArns": readers},
	"topic":        {"DatabaseSecretArn": writerSecret, "AlarmTopicArn": topic},
	"gradual":      {"DatabaseSecretArn": writerSecret, "GradualDeployment": "Linear10PercentEvery1Minute", "Revision": "v1-20260101"},
	"the largest there is": {
		"DatabaseSecretArn": writerSecret, "BatchSize": "10000", "BatchWindowSeconds": "20", "MaximumConcurrency": "1000", "Architecture": "x86_64", "LogLevel": "DEBUG",
	},
})

const (
	existing     = "arn:aws:sqs:eu-central-1:123456789012:logins"
	writerSecret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:writer-AbCdEf"
	ownerSecret  = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:owner-AbCdEf"
	maskSecret   = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:masks-AbCdEf"
	queueKey     = "arn:aws:kms:eu-central-1:123456789012:key/queue"
	secretsKey   = "arn:aws:kms:eu-central-1:123456789012:key/secrets"
	maskKeyKey   = "arn:aws:kms:eu-central-1:123456789012:key/masks"
	topic        = "arn:aws:sns:eu-central-1:123456789012:wake-me"
	readers      = "arn:aws:iam::123456789012:role/support,arn:aws:iam::123456789012:user/jo"

	environmentKey = "arn:aws:kms:eu-central-1:123456789012:key/environment"
	logsKey        = "arn:aws:kms:eu-central-1:123456789012:key/logs"
)

// withArchitecture adds the parameter that `sam build` writes.
func withArchitecture(scenarios map[string]map[string]string) map[string]map[string]string {
	for _, parameters := range scenarios {
		if parameters["Architecture"] == "" {
			parameters["Architecture"] = "arm64"
		}
	}
	return scenarios
}

// rules are what must hold in every scenario. Each returns what breaks it.
var rules = map[string]func(s *stack) []string{
	"references":         references,
	"mapping":            mapping,
	"timeouts":           timeouts,
	"redrive":            redrive,
	"queues":             queues,
	"data outlives":      dataOutlives,
	"mask key":           maskKey,
	"readers":            readersOnly,
	"senders":            senders,
	"keys":               keys,
	"roles":              roles,
	"network":            inNetwork,
	"tracing":            tracing,
	"documented rules":   documentedRules,
	"least privilege":    leastPrivilege,
	"variables":          variables,
	"configuration":      configuration,
	"logs":               logs,
	"alarms":             alarms,
	"dashboard":          dashboard,
	"gradual deployment": gradualDeployment,
	"nothing unused":     nothingUnused,
	"refusals say what":  refusalsSayWhat,
}

func TestRules(t *testing.T) {
	t.Parallel()
	source := readTemplate(t)
	for name, given := range scenarios {
		s := resolve(source, given)
		for rule, check := range rules {
			for _, problem := range check(s) {
				t.Errorf("%s: %s: %s", name, rule, problem)
			}
		}
	}
}

// TestRefusals checks the Rules section of the template: CloudFormation refuses what cannot work
// before it makes anything.
func TestRefusals(t *testing.T) {
	t.Parallel()
	source := readTemplate(t)
	for name, given := range scenarios {
		if refused := resolve(source, given).refusals(); len(refused) > 0 {
			t.Errorf("%s is refused by %q", name, refused)
		}
	}
	for _, tt := range []struct {
		rule  string
		given map[string]string
	}{
		{"TheDatabaseIsSaid", map[string]string{}},
		{"OnePassword", map[string]string{"DatabaseSecretArn": writerSecret, "DatabaseResourceId": "db-ABC", "DatabaseUser": "writer", "DatabaseUrl": "postgres://writer@db/app"}},
		{"IamSaysWho", map[string]string{"DatabaseUrl": "postgres://writer@db/app", "DatabaseResourceId": "db-ABC"}},
		{"IamSaysWho", map[string]string{"DatabaseResourceId": "db-ABC", "DatabaseUser": "writer", "DatabaseSecretArn": ""}},
		{"IamSaysWho", map[string]string{"DatabaseSecretArn": writerSecret, "DatabaseUser": "writer"}},
		{"IamSaysWho", map[string]string{"DatabaseSecretArn": writerSecret, "MigrateUser": "owner", "MigrateDatabaseUrl": "postgres://owner@db/app"}},
		{"IamSaysWho", map[string]string{"DatabaseUrl": "postgres://writer@db/app", "DatabaseResourceId": "db-ABC", "DatabaseUser": "writer", "MigrateUser": "owner"}},
		{"OneWayToMask", map[string]string{"DatabaseSecretArn": writerSecret, "UnkeyedMasks": "true", "MaskSecretArn": maskSecret}},
		{"GradualNeedsRevision", map[string]string{"DatabaseSecretArn": writerSecret, "GradualDeployment": "AllAtOnce"}},
		{"NetworkIsWhole", map[string]string{"DatabaseSecretArn": writerSecret, "SubnetIds": "subnet-1a"}},
		{"NetworkIsWhole", map[string]string{"DatabaseSecretArn": writerSecret, "SecurityGroupIds": "sg-1a"}},
		{"PollersAreLimited", map[string]string{"DatabaseSecretArn": writerSecret, "MinimumPollers": "2"}},
		{"PollersAreLimited", map[string]string{"DatabaseSecretArn": writerSecret, "MaximumPollers": "2"}},
		{"PollersAreLimited", map[string]string{"DatabaseSecretArn": writerSecret, "MinimumPollers": "2", "MaximumPollers": "2", "ReservedConcurrency": "MaximumConcurrency"}},
		{"PolicyIsOurs", map[string]string{"DatabaseSecretArn": writerSecret, "ExistingQueueArn": existing, "SenderArns": topic}},
		{"PolicyIsOurs", map[string]string{"DatabaseSecretArn": writerSecret, "ExistingQueueArn": existing, "SenderPrincipals": "210987654321"}},
		{"PolicyIsOurs", map[string]string{"DatabaseSecretArn": writerSecret, "ExistingQueueArn": existing, "QueueReaderArns": readers}},
		{"MaskSecretIsOurs", map[string]string{"DatabaseSecretArn": writerSecret, "MaskSecretArn": maskSecret, "MaskSecretKmsKeyArn": maskKeyKey}},
		{"MaskSecretIsOurs", map[string]string{"DatabaseSecretArn": writerSecret, "UnkeyedMasks": "true", "MaskSecretKmsKeyArn": maskKeyKey}},
	} {
		if refused := resolve(source, tt.given).refusals(); !slices.Contains(refused, tt.rule) {
			t.Errorf("%v is refused by %q, not by %s", tt.given, refused, tt.rule)
		}
	}
}

// faults collects what breaks a rule.
type faults []string

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func (f *faults) equal(what string, got, want any) {
	g, w := fmt.Sprint(got), fmt.Sprint(want)
	if g != w {
		f.add("%s is %s, not %s", what, g, w)
	}
}

func (s *stack) get(id string, path ...any) any { return at(s.resources[id].properties, path...) }

func (s *stack) fifo() bool {
	if arn := s.parameters["ExistingQueueArn"]; arn != "" {
		return strings.HasSuffix(arn, ".fifo")
	}
	return s.parameters["QueueType"] == "fifo"
}

func (s *stack) private() bool { return s.parameters["SubnetIds"] != "" }

// list returns the members of a parameter that is a list.
func (s *stack) list(parameter string) []string {
	if s.parameters[parameter] == "" {
		return nil
	}
	return strings.Split(s.parameters[parameter], ",")
}

func (s *stack) ownQueue() bool { return s.parameters["ExistingQueueArn"] == "" }

func (s *stack) sourceArn() string {
	if s.ownQueue() {
		return arn("sqs", "Queue")
	}
	return s.parameters["ExistingQueueArn"]
}

func (s *stack) ofKind(kind string) []resource {
	var found []resource
	for _, id := range slices.Sorted(maps.Keys(s.resources)) {
		if s.resources[id].kind == kind {
			found = append(found, s.resources[id])
		}
	}
	return found
}

// ---------------------------------------------------------------- rules

// references checks that nothing refers to what is missing, as when a condition is false, and that no
// value breaks a parameter's pattern.
func references(s *stack) []string { return s.problems }

// mapping checks the event source mapping. Without ReportBatchItemFailures Lambda ignores the answer
// and deletes what failed, and the linters accept any word there. A filter deletes what does not
// match. Pollers that meet a reserved concurrency are throttled, which costs receives, so it is
// MaximumConcurrency or none. Lambda takes that or provisioned pollers. SQS gives 10 messages on FIFO,
// without a window; more than 10 need a window.
func mapping(s *stack) (f []string) {
	p := (*faults)(&f)
	p.equal("FunctionResponseTypes", s.get("IngestMapping", "FunctionResponseTypes"), "[ReportBatchItemFailures]")
	for _, absent := range [][2]string{
		{"IngestMapping", "FilterCriteria"}, {"IngestFunction", "Events"}, {"MigrateFunction", "ReservedConcurrentExecutions"},
	} {
		if s.get(absent[0], absent[1]) != nil {
			p.add("%s has %s", absent[0], absent[1])
		}
	}
	concurrency, reserved := any(s.parameters["MaximumConcurrency"]), any(nil)
	if s.parameters["ReservedConcurrency"] != "none" {
		reserved = concurrency
	}
	p.equal("ReservedConcurrentExecutions", s.get("IngestFunction", "ReservedConcurrentExecutions"), reserved)
	pollers := any(nil)
	if least := s.parameters["MinimumPollers"]; least != "" {
		pollers, concurrency = map[string]any{"MinimumPollers": least, "MaximumPollers": s.parameters["MaximumPollers"]}, nil
	}
	p.equal("MaximumConcurrency", s.get("IngestMapping", "ScalingConfig", "MaximumConcurrency"), concurrency)
	p.equal("ProvisionedPollerConfig", s.get("IngestMapping", "ProvisionedPollerConfig"), pollers)
	size, window := number(s.get("IngestMapping", "BatchSize")), s.get("IngestMapping", "MaximumBatchingWindowInSeconds")
	switch {
	case s.fifo() && (size < 1 || size > 10 || window != nil):
		p.add("on FIFO the batch size is %d and the window %v", size, window)
	case size < 1 || size > 10 && number(window) < 1:
		p.add("a window of %v for batches of %d", window, size)
	}
	return f
}

// timeouts checks that messages stay hidden for 6 x the function's timeout plus the window, as AWS
// recommends.
func timeouts(s *stack) (f []string) {
	p := (*faults)(&f)
	timeout := number(s.get("IngestFunction", "Timeout"))
	if timeout < 10 || timeout > 900 { // the function keeps 4 s of it to cancel, answer and back off
		p.add("the function's Timeout is %d", timeout)
	}
	window := max(0, number(at(s.source, "Parameters", "BatchWindowSeconds", "MaxValue")))
	least := number(at(s.source, "Parameters", "VisibilityTimeoutSeconds", "MinValue"))
	if visibility := number(s.get("Queue", "VisibilityTimeout")); s.ownQueue() && min(least, visibility) < 6*timeout+window {
		p.add("VisibilityTimeout is %d, and may be %d: less than 6 x %d + %d", visibility, least, timeout, window)
	}
	return f
}

// redrive checks that a day of outage moves no message to the dead-letter queue, even if every random
// delay of the back-off is as short as it can be; that the dead-letter queue is of the same kind,
// keeps messages longer (they keep the time when they were sent) and has room for the attribute that
// says why a message was rejected; and that the function knows it.
func redrive(s *stack) (f []string) {
	p := (*faults)(&f)
	p.equal("FIFO of the dead-letter queue", s.get("DeadLetterQueue", "FifoQueue") == true, s.fifo())
	p.equal("DEAD_LETTER_QUEUE_URL", s.get("IngestFunction", "Environment", "Variables", "DEAD_LETTER_QUEUE_URL"), s.ref("DeadLetterQueue"))
	if !s.ownQueue() {
		return f
	}
	p.equal("FIFO of the queue", s.get("Queue", "FifoQueue") == true, s.fifo())
	p.equal("deadLetterTargetArn", s.get("Queue", "RedrivePolicy", "deadLetterTargetArn"), arn("sqs", "DeadLetterQueue"))
	_, most := receivesOfADay()
	if count := number(s.get("Queue", "RedrivePolicy", "maxReceiveCount")); count < most || count > 1000 {
		p.add("maxReceiveCount is %d; a day of outage is up to %d receives, and SQS takes up to 1000", count, most)
	}
	if s.get("Queue", "ContentBasedDeduplication") != nil {
		p.add("content-based deduplication loses the second of two equal events")
	}
	most = number(at(s.source, "Parameters", "RetentionSeconds", "MaxValue"))
	dead, source := number(s.get("DeadLetterQueue", "MessageRetentionPeriod")), number(s.get("Queue", "MessageRetentionPeriod"))
	if source < 24*3600 || most < source || dead <= most {
		p.add("the queue keeps messages for %d s, and for %d at most, and the dead-letter queue for %d", source, most, dead)
	}
	// Both are set, since SQS has changed its default once.
	most = number(at(s.source, "Parameters", "MaximumMessageBytes", "MaxValue"))
	dead, source = number(s.get("DeadLetterQueue", "MaximumMessageSize")), number(s.get("Queue", "MaximumMessageSize"))
	if source < 1024 || most < source || most > dead-4096 {
		p.add("MaximumMessageSize is %d, and %d at most, and %d of the dead-letter queue", source, most, dead)
	}
	return f
}

// receivesOfADay returns how often a message is received in a day of outage: on average, and at most.
func receivesOfADay() (expected, most int) {
	receives := func(random float64) int {
		n := 1
		for waited := time.Duration(0); waited < 24*time.Hour; n++ {
			waited += sqs.Delay(n, func() float64 { return random })
		}
		return n
	}
	return receives(0.5), receives(0)
}

// queues checks that every queue is encrypted, with the key that was given, and takes requests over
// TLS only.
func queues(s *stack) (f []string) {
	p := (*faults)(&f)
	for _, q := range s.ofKind("AWS::SQS::Queue") {
		managed, key := q.properties["SqsManagedSseEnabled"] == true, text(q.properties["KmsMasterKeyId"])
		if managed == (key != "") || key != s.parameters["QueueKmsKeyArn"] {
			p.add("%s: managed by SQS %v, key %q", q.id, managed, key)
		}
		if !slices.ContainsFunc(s.queuePolicy(q.id), func(statement map[string]any) bool {
			return statement["Effect"] == "Deny" && statement["Action"] == "sqs:*" && statement["Principal"] == "*" &&
				statement["Resource"] == arn("sqs", q.id) && fmt.Sprint(statement["Condition"]) == "map[Bool:map[aws:SecureTransport:false]]"
		}) {
			p.add("%s takes requests without TLS", q.id)
		}
	}
	return f
}

func (s *stack) queuePolicy(id string) []map[string]any {
	var statements []map[string]any
	for _, policy := range s.ofKind("AWS::SQS::QueuePolicy") {
		if slices.Contains(texts(policy.properties["Queues"]), fmt.Sprint(s.ref(id))) {
			for _, statement := range elements(at(policy.properties, "PolicyDocument", "Statement")) {
				statements = append(statements, object(statement))
			}
		}
	}
	return statements
}

// dataOutlives checks that neither deleting the stack nor replacing a resource deletes messages, the
// mask key or a version to go back to, and that a first deploy that fails leaves no queue and no key.
// (A version goes with its function.)
func dataOutlives(s *stack) (f []string) {
	for kind, deletion := range map[string]string{
		"AWS::SQS::Queue": "RetainExceptOnCreate", "AWS::SecretsManager::Secret": "RetainExceptOnCreate", "AWS::Lambda::Version": "Retain",
	} {
		for _, r := range s.ofKind(kind) {
			(*faults)(&f).equal(r.id+": DeletionPolicy", r.attributes["DeletionPolicy"], deletion)
			(*faults)(&f).equal(r.id+": UpdateReplacePolicy", r.attributes["UpdateReplacePolicy"], "Retain")
		}
	}
	return f
}

// maskKey repeats the template on purpose: any change here makes CloudFormation draw another key, and
// nobody finds a person's rows again.
func maskKey(s *stack) (f []string) {
	p := (*faults)(&f)
	_, made := s.resources["MaskSecret"]
	p.equal("a mask key is made", made, s.parameters["MaskSecretArn"] == "" && s.parameters["UnkeyedMasks"] == "false")
	if made {
		p.equal("GenerateSecretString", s.get("MaskSecret", "GenerateSecretString"),
			map[string]any{"SecretStringTemplate": `{"primary":"k1"}`, "GenerateStringKey": "k1", "PasswordLength": 64, "ExcludePunctuation": true})
	}
	return f
}

// readersOnly checks that only those who are named receive from the queues, whose messages are not
// masked: readers, and from the queue the function, whose role the mapping uses.
func readersOnly(s *stack) (f []string) {
	p := (*faults)(&f)
	for _, q := range []struct {
		id, parameter string
		always        []string
	}{
		{"Queue", "QueueReaderArns", []string{"arn:aws:iam::" + account + ":role/IngestRole"}},
		{"DeadLetterQueue", "DeadLetterReaderArns", nil},
	} {
		if q.id == "Queue" && !s.ownQueue() {
			continue
		}
		named := s.list(q.parameter)
		excepted := slices.Concat(q.always, named)
		denied, allowed := false, false
		for _, statement := range s.queuePolicy(q.id) {
			may, condition := texts(statement["Action"]), object(statement["Condition"])
			receives := slices.Contains(may, "sqs:ReceiveMessage") || slices.Contains(may, "sqs:*")
			if statement["Effect"] == "Allow" && receives {
				allowed = true
				p.equal(q.id+": allowed to read are", texts(at(statement, "Principal", "AWS")), named)
			}
			denied = denied || statement["Effect"] == "Deny" && receives && statement["Principal"] == "*" && statement["Resource"] == arn("sqs", q.id) &&
				len(condition) == min(1, len(excepted)) && slices.Equal(texts(at(condition, "ArnNotEquals", "aws:PrincipalArn")), excepted)
		}
		if !denied {
			p.add("%s: no statement denies sqs:ReceiveMessage to all but %v", q.id, excepted)
		}
		p.equal(q.id+": readers are allowed", allowed, len(named) > 0)
		refuses(p, s, q.parameter, "*", "arn:aws:iam::123456789012:role/*", "arn:aws:iam::*:role/x", "arn:aws:iam::123456789012:root", "123456789012", readers+",", readers+",*")
	}
	return f
}

// refuses checks that a parameter takes none of the values.
func refuses(p *faults, s *stack, parameter string, values ...string) {
	for _, value := range values {
		if allowed(object(at(s.source, "Parameters", parameter)), value) {
			p.add("%s takes %s", parameter, value)
		}
	}
}

// senders checks that the queue takes messages from others only if they are named, and from services
// only on behalf of a topic or rule that is named.
func senders(s *stack) (f []string) {
	p := (*faults)(&f)
	if !s.ownQueue() {
		return f
	}
	var services, principals []string
	for _, statement := range s.queuePolicy("Queue") {
		if statement["Effect"] != "Allow" || !slices.Contains(texts(statement["Action"]), "sqs:SendMessage") {
			continue
		}
		p.equal("senders may do it on", statement["Resource"], arn("sqs", "Queue"))
		if others := object(statement["Principal"]); others["Service"] != nil {
			p.equal("services send for", fmt.Sprint(others["Service"], " ", statement["Condition"]),
				fmt.Sprint([]any{"sns.amazonaws.com", "events.amazonaws.com"}, " map[ArnEquals:map[aws:SourceArn:", s.list("SenderArns"), "]]"))
			services = s.list("SenderArns")
		} else {
			principals = append(principals, texts(others["AWS"])...)
		}
	}
	p.equal("services send for", services, s.list("SenderArns"))
	p.equal("principals who send", principals, s.list("SenderPrincipals"))
	refuses(p, s, "SenderArns", "*", "arn:aws:sns:eu-central-1:123456789012:*", "arn:aws:s3:::bucket", topic+",", topic+",*")
	refuses(p, s, "SenderPrincipals", "*", "arn:aws:iam::210987654321:role/*", "arn:aws:iam::*:root", "210987654321,*", "210987654321,")
	return f
}

// keys checks that what the stack makes is encrypted with the keys that were given. (The rule "queues"
// looks at the queues.)
func keys(s *stack) (f []string) {
	p := (*faults)(&f)
	for kind, by := range map[string][2]string{
		"AWS::Logs::LogGroup":         {"KmsKeyId", "LogsKmsKeyArn"},
		"AWS::SecretsManager::Secret": {"KmsKeyId", "MaskSecretKmsKeyArn"},
		"AWS::Serverless::Function":   {"KmsKeyArn", "EnvironmentKmsKeyArn"},
	} {
		for _, r := range s.ofKind(kind) {
			p.equal(r.id+": "+by[0], text(r.properties[by[0]]), s.parameters[by[1]])
		}
	}
	return f
}

// roles checks that each has the boundary and the path that an organization demands.
func roles(s *stack) (f []string) {
	p := (*faults)(&f)
	for _, r := range s.ofKind("AWS::IAM::Role") {
		p.equal(r.id+": PermissionsBoundary", text(r.properties["PermissionsBoundary"]), s.parameters["PermissionsBoundaryArn"])
		p.equal(r.id+": Path", r.properties["Path"], s.parameters["RolePath"])
	}
	return f
}

// inNetwork checks that each function is in the subnets that were given, and else in none.
func inNetwork(s *stack) (f []string) {
	for _, fn := range s.ofKind("AWS::Serverless::Function") {
		got := object(fn.properties["VpcConfig"])
		(*faults)(&f).equal(fn.id+": subnets and groups", fmt.Sprint(texts(got["SubnetIds"]), texts(got["SecurityGroupIds"])), fmt.Sprint(s.list("SubnetIds"), s.list("SecurityGroupIds")))
	}
	return f
}

// tracing checks that each function is traced if that is asked for. (The rule "least privilege" looks
// at the rights that it takes.)
func tracing(s *stack) (f []string) {
	for _, fn := range s.ofKind("AWS::Serverless::Function") {
		(*faults)(&f).equal(fn.id+": Tracing", fn.properties["Tracing"], s.parameters["Tracing"])
	}
	return f
}

// documentedRules checks that the Rules use functions as AWS documents them: Fn::Contains and the
// other functions of lists take lists that are written out, and a Ref is to a string or a number.
func documentedRules(s *stack) (f []string) {
	p := (*faults)(&f)
	var walk func(rule string, v any)
	walk = func(rule string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, argument := range v {
				switch name {
				case "Fn::And", "Fn::Or", "Fn::Not", "Fn::Equals":
					walk(rule, argument)
				case "Ref":
					if kind := at(s.source, "Parameters", text(argument), "Type"); kind != "String" && kind != "Number" {
						p.add("%s: Ref of %s, whose type is %v", rule, argument, kind)
					}
				default:
					p.add("%s: %s", rule, name)
				}
			}
		case []any:
			for _, value := range v {
				walk(rule, value)
			}
		}
	}
	for name, rule := range object(s.source["Rules"]) {
		for _, a := range elements(object(rule)["Assertions"]) {
			walk(name, object(a)["Assert"])
		}
	}
	return f
}

// statements returns the statements of a role's policies.
func (s *stack) statements(role string) []map[string]any {
	var all []map[string]any
	for _, policy := range elements(s.get(role, "Policies")) {
		for _, statement := range elements(at(policy, "PolicyDocument", "Statement")) {
			all = append(all, object(statement))
		}
	}
	return all
}

// network lists what EC2 wants "*" for.
var network = []string{"ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"}

// permitted returns what a role may do, as "action on resource".
func (s *stack) permitted(role string) map[string]bool {
	may := map[string]bool{}
	allow := func(resource string, actions ...string) {
		for _, action := range actions {
			may[action+" on "+resource] = true
		}
	}
	variables := object(s.get(strings.TrimSuffix(role, "Role")+"Function", "Environment", "Variables"))
	allow(arn("logs", "log-group:"+strings.TrimSuffix(role, "Role")+"LogGroup:*"), "logs:CreateLogStream", "logs:PutLogEvents")
	secrets := []string{text(variables["DATABASE_SECRET_ARN"])}
	user := s.parameters["DatabaseUser"]
	switch role {
	case "IngestRole":
		allow(s.sourceArn(), "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility")
		allow(arn("sqs", "DeadLetterQueue"), "sqs:SendMessage")
		if key := s.parameters["QueueKmsKeyArn"]; key != "" {
			allow(key, "kms:Decrypt", "kms:GenerateDataKey")
		}
		secrets = append(secrets, text(variables["SLUICE_MASK_SECRET_ARN"]))
		if key := s.parameters["MaskSecretKmsKeyArn"]; key != "" {
			allow(key, "kms:Decrypt")
		}
	case "MigrateRole":
		if own := s.parameters["MigrateUser"]; own != "" {
			user = own
		}
	}
	for _, secret := range secrets {
		if secret != "" {
			allow(secret, "secretsmanager:GetSecretValue")
		}
	}
	for _, key := range s.list("SecretsKmsKeyArns") {
		allow(key, "kms:Decrypt")
	}
	if variables["DATABASE_IAM_AUTH"] == "true" {
		allow(arn("rds-db", fmt.Sprintf("dbuser:%s/%s", s.parameters["DatabaseResourceId"], user)), "rds-db:connect")
	}
	if s.private() {
		allow("*", network...)
	}
	if s.parameters["Tracing"] == "Active" {
		allow("*", "xray:PutTraceSegments", "xray:PutTelemetryRecords")
	}
	return may
}

func (s *stack) roleIDs() []string {
	ids := []string{"IngestRole"}
	if s.parameters["WithMigrateFunction"] == "true" {
		ids = append(ids, "MigrateRole")
	}
	return ids
}

func granted(s *stack, role string) map[string]bool {
	has := map[string]bool{}
	for _, statement := range s.statements(role) {
		if statement["Effect"] != "Allow" {
			continue
		}
		for _, action := range texts(statement["Action"]) {
			for _, resource := range texts(statement["Resource"]) {
				has[action+" on "+resource] = true
			}
		}
	}
	return has
}

// leastPrivilege checks that each function has a role of its own, which may do exactly what is
// permitted. (SAM would give it managed policies over every queue and log of the account.) The only
// "*" are what EC2 demands for a function in a private network, which the function's own code is
// denied, and what X-Ray demands.
func leastPrivilege(s *stack) (f []string) {
	p := (*faults)(&f)
	for _, fn := range s.ofKind("AWS::Serverless::Function") {
		p.equal(fn.id+": Role", fn.properties["Role"], "arn:aws:iam::"+account+":role/"+strings.TrimSuffix(fn.id, "Function")+"Role")
		if fn.properties["Policies"] != nil {
			p.add("%s has Policies beside its role", fn.id)
		}
	}
	if extra := len(s.ofKind("AWS::IAM::Policy")) + len(s.ofKind("AWS::IAM::ManagedPolicy")); extra > 0 {
		p.add("%d policies outside of a role", extra)
	}
	for _, role := range s.roleIDs() {
		p.equal(role+" is for", at(s.get(role, "AssumeRolePolicyDocument", "Statement"), 0, "Principal"), "map[Service:lambda.amazonaws.com]")
		if s.get(role, "ManagedPolicyArns") != nil {
			p.add("%s has managed policies", role)
		}
		may, has := s.permitted(role), granted(s, role)
		for _, grant := range slices.Sorted(maps.Keys(has)) {
			if !may[grant] {
				p.add("%s has %s", role, grant)
			}
		}
		for _, need := range slices.Sorted(maps.Keys(may)) {
			if !has[need] {
				p.add("%s lacks %s", role, need)
			}
		}
		var denied []string
		function := arn("lambda", "function:mystack-"+strings.ToLower(strings.TrimSuffix(role, "Role")))
		for _, statement := range s.statements(role) {
			for _, key := range []string{"NotAction", "NotResource", "Principal"} {
				if statement[key] != nil {
					p.add("%s has a statement with %s", role, key)
				}
			}
			if statement["Effect"] == "Deny" && statement["Resource"] == "*" &&
				fmt.Sprint(statement["Condition"]) == fmt.Sprintf("map[ArnEquals:map[lambda:SourceFunctionArn:%s]]", function) {
				denied = append(denied, texts(statement["Action"])...)
			}
			service := text(at(statement, "Condition", "StringEquals", "kms:ViaService"))
			for _, action := range texts(statement["Action"]) {
				if strings.HasPrefix(action, "kms:") && service != "sqs."+region+".amazonaws.com" && service != "secretsmanager."+region+".amazonaws.com" {
					p.add("%s has %s outside of a service: %q", role, action, service)
				}
			}
		}
		if !slices.Contains(denied, "ec2:*") {
			p.add("%s: the function's own code may use the network permissions: denied are only %v", role, denied)
		}
	}
	return f
}

// notDeclared lists variables that the code reads and the template does not declare, with the reason.
var notDeclared = map[string]string{
	"SQS_URL":               "for the command line",
	"SLUICE_METRICS_ADDR":   "for the command line",
	"DATABASE_URL_FILE":     "for containers; a function has secrets",
	"SLUICE_MASK_KEYS_FILE": "for containers; a function has secrets",
	"AWS_LAMBDA_LOG_LEVEL":  "set by Lambda, from ApplicationLogLevel",
}

// reserved lists the variables that Lambda sets itself (Lambda Developer Guide, "Defined runtime
// environment variables"). A deploy that declares one of them fails.
var reserved = []string{
	"_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
	"AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_LOG_LEVEL",
	"AWS_LAMBDA_LOG_FORMAT", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT",
	"LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_MAX_CONCURRENCY", "AWS_LAMBDA_METADATA_API", "AWS_LAMBDA_METADATA_TOKEN",
}

// variables checks that the ingest function declares every variable that the code reads, and no
// function declares another.
func variables(s *stack) (f []string) {
	p := (*faults)(&f)
	declared := slices.Sorted(maps.Keys(object(s.get("IngestFunction", "Environment", "Variables"))))
	var want []string
	for _, name := range config.Variables() {
		if notDeclared[name] == "" {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	p.equal("the ingest function's variables", declared, want)
	for _, fn := range s.ofKind("AWS::Serverless::Function") {
		for _, name := range slices.Sorted(maps.Keys(object(at(fn.properties, "Environment", "Variables")))) {
			if slices.Contains(reserved, name) {
				p.add("%s declares %s, which is Lambda's", fn.id, name)
			}
			if !slices.Contains(want, name) {
				p.add("%s declares %s, which nothing reads", fn.id, name)
			}
		}
	}
	return f
}

func (s *stack) environ(function string) map[string]string {
	environ := map[string]string{"AWS_LAMBDA_LOG_LEVEL": text(s.get(function, "LoggingConfig", "ApplicationLogLevel"))}
	for name, value := range object(s.get(function, "Environment", "Variables")) {
		environ[name] = fmt.Sprint(value)
	}
	return environ
}

// configuration checks that the code accepts the environment that the template makes, and that both
// have the same defaults.
func configuration(s *stack) (f []string) {
	p := (*faults)(&f)
	c, err := config.Load(s.environ("IngestFunction"), config.Database, config.Masks)
	if err != nil {
		p.add("the ingest function: %v", err)
		return f
	}
	defaults, _ := config.Load(nil)
	p.equal("SLUICE_MODEL", c.Models.Models[0].Name, defaults.Models.Models[0].Name)
	if s.parameters["LogLevel"] == "INFO" {
		p.equal("LOG_LEVEL", c.LogLevel, defaults.LogLevel)
	}
	p.equal("SLUICE_BACKOFF", c.Backoff, true) // off by default: it needs permissions
	p.equal("DATABASE_IAM_AUTH", c.DatabaseIAMAuth, s.parameters["DatabaseResourceId"] != "")
	p.equal("keys from a secret", c.MaskSecretARN != "", s.parameters["UnkeyedMasks"] == "false")
	if s.parameters["WithMigrateFunction"] == "true" {
		if m, err := config.Load(s.environ("MigrateFunction"), config.Database); err != nil {
			p.add("the migrate function: %v", err)
		} else {
			p.equal("the migrate function's model", m.Models.Models[0].Name, c.Models.Models[0].Name)
		}
	}
	return f
}

// logs checks that logs are not kept forever, and that no level drops the metrics: Lambda takes their
// lines, which have no level, for INFO.
func logs(s *stack) (f []string) {
	p := (*faults)(&f)
	for _, fn := range s.ofKind("AWS::Serverless::Function") {
		if group := text(at(fn.properties, "LoggingConfig", "LogGroup")); number(s.get(group, "RetentionInDays")) < 1 {
			p.add("%s logs to %q, which keeps lines forever", fn.id, group)
		}
	}
	p.equal("the values of LogLevel", at(s.source, "Parameters", "LogLevel", "AllowedValues"), "[DEBUG INFO]")
	return f
}

// metrics returns the namespaces and names of the metrics that an alarm looks at.
func metrics(alarm map[string]any) (all [][2]string) {
	if alarm["MetricName"] != nil {
		all = append(all, [2]string{text(alarm["Namespace"]), text(alarm["MetricName"])})
	}
	for _, m := range elements(alarm["Metrics"]) {
		if metric := at(m, "MetricStat", "Metric"); metric != nil {
			all = append(all, [2]string{text(at(metric, "Namespace")), text(at(metric, "MetricName"))})
		}
	}
	return all
}

func alarmName(alarm resource) string {
	return strings.TrimPrefix(text(alarm.properties["AlarmName"]), "mystack-")
}

// alarms checks that every alarm is on a metric that somebody writes, in expressions of the metrics
// that it has, names its section of docs/operate.md, and tells the topic when it starts and ends.
func alarms(s *stack) (f []string) {
	p := (*faults)(&f)
	for _, a := range s.ofKind("AWS::CloudWatch::Alarm") {
		if section := "(docs/operate.md, " + alarmName(a) + ")"; !strings.Contains(text(a.properties["AlarmDescription"]), section) {
			p.add("the description of %s does not say %s", a.id, section)
		}
		want := "[]"
		if topic := s.parameters["AlarmTopicArn"]; topic != "" {
			want = "[" + topic + "]"
		}
		p.equal(a.id+": AlarmActions", elements(a.properties["AlarmActions"]), want)
		p.equal(a.id+": OKActions", elements(a.properties["OKActions"]), want)
		of := metrics(a.properties)
		if len(of) == 0 {
			p.add("%s has no metric", a.id)
		}
		for _, m := range of {
			if m[0] == emf.Namespace && !slices.Contains(emf.Metrics(), m[1]) {
				p.add("%s: the function writes no metric %s", a.id, m[1])
			}
		}
		ids := map[string]bool{}
		for _, m := range elements(a.properties["Metrics"]) {
			ids[text(at(m, "Id"))] = true
		}
		for _, m := range elements(a.properties["Metrics"]) {
			for _, id := range identifier.FindAllString(text(at(m, "Expression")), -1) {
				if !ids[id] {
					p.add("%s: the expression has %s, which is no metric of it", a.id, id)
				}
			}
		}
	}
	return f
}

var (
	identifier = regexp.MustCompile(`\b[a-z][a-z_]*\b`)
	quoted     = regexp.MustCompile(`'[^']*'`)
	searched   = regexp.MustCompile(`MetricName="([^"]*)"`)
)

// dashboard checks that its body is JSON, that it shows each of the function's metrics and none that
// it does not write, and that expressions name metrics of the same widget.
func dashboard(s *stack) (f []string) {
	p := (*faults)(&f)
	var body struct {
		Widgets []struct {
			Properties struct {
				Metrics [][]any
				Title   string
			}
		}
	}
	source := text(s.get("Dashboard", "DashboardBody"))
	if err := json.Unmarshal([]byte(source), &body); err != nil || strings.Contains(source, "${") {
		p.add("no JSON (%v): %s", err, source)
		return f
	}
	shown := map[string]bool{}
	for _, w := range body.Widgets {
		var last []any
		var used []string
		ids := map[string]bool{}
		for _, line := range w.Properties.Metrics {
			options := object(line[len(line)-1])
			ids[text(options["id"])] = true
			expression := text(options["expression"])
			used = append(used, identifier.FindAllString(quoted.ReplaceAllString(expression, ""), -1)...)
			if strings.Contains(expression, "SEARCH('{"+emf.Namespace+",FunctionName} ") {
				for _, m := range searched.FindAllStringSubmatch(expression, -1) {
					shown[m[1]] = true
				}
			}
			metric := shorthand(last, line)
			if len(metric) < 4 {
				continue // an expression
			}
			if last = metric; metric[0] == emf.Namespace {
				shown[fmt.Sprint(metric[1])] = true
			}
		}
		for _, id := range used {
			if !ids[id] {
				p.add("%s: the expression has %s, which is no metric of the widget", w.Properties.Title, id)
			}
		}
	}
	p.equal("the function's metrics on the dashboard", slices.Sorted(maps.Keys(shown)), slices.Sorted(slices.Values(emf.Metrics())))
	return f
}

// shorthand expands a metric of a dashboard: "." repeats the value above, "..." all that are missing.
func shorthand(above, line []any) []any {
	var full []any
	for i, v := range line {
		switch {
		case v == "..." && len(above) > 0:
			full = append(full, above...)
		case v == "." && i < len(above):
			full = append(full, above[i])
		case !isObject(v):
			full = append(full, v)
		}
	}
	return full
}

// gradualDeployment checks that the mapping follows the alias, that an alarm rolls back, and that each
// deploy makes a new version: Lambda makes none of a function that has not changed.
func gradualDeployment(s *stack) (f []string) {
	p := (*faults)(&f)
	if s.parameters["GradualDeployment"] == "none" {
		p.equal("the mapping calls", s.get("IngestMapping", "FunctionName"), "IngestFunction")
		return f
	}
	p.equal("the mapping calls", s.get("IngestMapping", "FunctionName"), arn("lambda", "function:LiveAlias"))
	revision := s.parameters["Revision"]
	p.equal("the version is new with", s.get("LiveVersion", "Description"), revision)
	if description := text(s.get("IngestFunction", "Description")); !strings.HasSuffix(description, " "+revision) {
		p.add("the function is the same after a deploy of the same code: %q", description)
	}
	if len(elements(s.get("DeploymentGroup", "AlarmConfiguration", "Alarms"))) == 0 ||
		!slices.Contains(texts(s.get("DeploymentGroup", "AutoRollbackConfiguration", "Events")), "DEPLOYMENT_STOP_ON_ALARM") {
		p.add("an alarm does not roll back")
	}
	return f
}

// nothingUnused checks that every parameter is used. (cfn-lint checks conditions, and not parameters of
// a template for SAM.)
func nothingUnused(s *stack) (f []string) {
	used := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				switch key {
				case "Ref":
					used[text(value)] = true
				case "Fn::Sub":
					for _, found := range placeholder.FindAllString(fmt.Sprint(elements(value)[0]), -1) {
						used[strings.Trim(found, "${}")] = true
					}
				}
				walk(value)
			}
		case []any:
			for _, value := range v {
				walk(value)
			}
		}
	}
	for _, section := range []string{"Conditions", "Globals", "Resources", "Outputs"} {
		walk(s.source[section])
	}
	for _, name := range slices.Sorted(maps.Keys(object(s.source["Parameters"]))) {
		if !used[name] {
			(*faults)(&f).add("nothing uses %s", name)
		}
	}
	return f
}

// A pattern refuses a value without saying what to write instead: CloudFormation shows the expression,
// unless there is a description.
func refusalsSayWhat(s *stack) (f []string) {
	p := (*faults)(&f)
	for name, parameter := range object(s.source["Parameters"]) {
		if object(parameter)["AllowedPattern"] != nil && object(parameter)["ConstraintDescription"] == nil {
			p.add("parameter %s has an AllowedPattern and no ConstraintDescription", name)
		}
	}
	return f
}
