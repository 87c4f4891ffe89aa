// Package sam_test reads template.yaml as data and holds the rules that it keeps; each has mutations that must fail it.
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

	"sluice/internal/config"
	"sluice/internal/emf"
	"sluice/internal/sqs"
)

// scenarios are stacks that somebody would deploy, by their parameters.
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
	"own keys":        {"DatabaseSecretArn": writerSecret, "QueueKmsKeyArn": queueKey, "SecretsKmsKeyArns": secretsKey},
	"readers":         {"DatabaseSecretArn": writerSecret, "DeadLetterReaderArns": "arn:aws:iam::123456789012:role/support,arn:aws:iam::123456789012:user/jo"},
	"topic":           {"DatabaseSecretArn": writerSecret, "AlarmTopicArn": topic},
	"gradual":         {"DatabaseSecretArn": writerSecret, "GradualDeployment": "Linear10PercentEvery1Minute", "Revision": "v1-20260101"},
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
	topic        = "arn:aws:sns:eu-central-1:123456789012:wake-me"
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

// rules are what must be true of every scenario, by name. Each returns what is wrong.
var rules = map[string]func(s *stack) []string{
	"references":            references,
	"partial batches":       partialBatches,
	"no filter":             noFilter,
	"batch size and window": batchSize,
	"concurrency":           concurrency,
	"time-outs":             timeouts,
	"redrive":               redrive,
	"dead-letter queue":     deadLetterQueue,
	"message size":          messageSize,
	"encryption":            encryption,
	"TLS only":              tlsOnly,
	"data outlives":         dataOutlives,
	"mask key":              maskKey,
	"dead-letter readers":   deadLetterReaders,
	"roles":                 roles,
	"least privilege":       leastPrivilege,
	"permissions suffice":   permissionsSuffice,
	"runtime":               runtimeRule,
	"private network":       privateNetwork,
	"variables":             variables,
	"configuration":         configuration,
	"logs":                  logs,
	"alarms":                alarms,
	"dashboard":             dashboard,
	"gradual deployment":    gradualDeployment,
	"outputs":               outputs,
	"tags":                  tags,
	"nothing unused":        nothingUnused,
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

// What nobody means to deploy is refused by a rule of the template, before anything is made.
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
		{"OneWayToMask", map[string]string{"DatabaseSecretArn": writerSecret, "UnkeyedMasks": "true", "MaskSecretArn": maskSecret}},
		{"GradualNeedsRevision", map[string]string{"DatabaseSecretArn": writerSecret, "GradualDeployment": "AllAtOnce"}},
		{"NetworkIsWhole", map[string]string{"DatabaseSecretArn": writerSecret, "SubnetIds": "subnet-1a"}},
		{"NetworkIsWhole", map[string]string{"DatabaseSecretArn": writerSecret, "SecurityGroupIds": "sg-1a"}},
	} {
		if refused := resolve(source, tt.given).refusals(); !slices.Contains(refused, tt.rule) {
			t.Errorf("%v is refused by %q, not by %s", tt.given, refused, tt.rule)
		}
	}
}

// faults collects what is wrong.
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
	if arn := text(s.parameters["ExistingQueueArn"]); arn != "" {
		return strings.HasSuffix(arn, ".fifo")
	}
	return s.parameters["QueueType"] == "fifo"
}

func (s *stack) ownQueue() bool { return s.parameters["ExistingQueueArn"] == "" }

func (s *stack) sourceArn() string {
	if s.ownQueue() {
		return arn("sqs", "Queue")
	}
	return text(s.parameters["ExistingQueueArn"])
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

// references: nothing refers to what is not there, as when a condition is false, and no value breaks a parameter's pattern.
func references(s *stack) []string { return s.problems }

// partialBatches: without ReportBatchItemFailures Lambda ignores the answer. The linters accept any word there.
func partialBatches(s *stack) (f []string) {
	p := (*faults)(&f)
	mappings := s.ofKind("AWS::Lambda::EventSourceMapping")
	p.equal("the number of mappings", len(mappings), 1)
	for _, m := range mappings {
		p.equal("FunctionResponseTypes", m.properties["FunctionResponseTypes"], "[ReportBatchItemFailures]")
		p.equal("EventSourceArn", m.properties["EventSourceArn"], s.sourceArn())
		if enabled, ok := m.properties["Enabled"]; ok {
			p.equal("Enabled", enabled, true)
		}
	}
	for _, fn := range s.ofKind("AWS::Serverless::Function") {
		if fn.properties["Events"] != nil {
			p.add("%s has Events of its own", fn.id)
		}
	}
	return f
}

// noFilter: a filter deletes what does not match.
func noFilter(s *stack) (f []string) {
	for _, m := range s.ofKind("AWS::Lambda::EventSourceMapping") {
		if m.properties["FilterCriteria"] != nil {
			(*faults)(&f).add("%s has FilterCriteria", m.id)
		}
	}
	return f
}

// batchSize: SQS gives 10 on FIFO, where there is no window; over 10 needs one.
func batchSize(s *stack) (f []string) {
	p := (*faults)(&f)
	size, window := number(s.get("IngestMapping", "BatchSize")), s.get("IngestMapping", "MaximumBatchingWindowInSeconds")
	if s.fifo() {
		if size < 1 || size > 10 || window != nil {
			p.add("on FIFO the batch size is %d and the window %v", size, window)
		}
		return f
	}
	p.equal("BatchSize", size, number(s.parameters["BatchSize"]))
	if size < 1 || size > 10_000 {
		p.add("BatchSize %d is not between 1 and 10000", size)
	}
	if number(window) < 0 || number(window) > 300 || size > 10 && number(window) < 1 {
		p.add("a window of %v for batches of %d", window, size)
	}
	return f
}

// concurrency: the mapping's limit costs no receives, a reserved one does.
func concurrency(s *stack) (f []string) {
	p := (*faults)(&f)
	most := number(s.get("IngestMapping", "ScalingConfig", "MaximumConcurrency"))
	if most < 2 || most > 1000 {
		p.add("MaximumConcurrency %d is not between 2 and 1000", most)
	}
	if s.get("IngestMapping", "ProvisionedPollerConfig") != nil {
		p.add("ProvisionedPollerConfig excludes ScalingConfig")
	}
	if s.get("IngestFunction", "ReservedConcurrentExecutions") != nil {
		p.add("the function has a reserved concurrency")
	}
	return f
}

// timeouts: visibility is at least 6 x the function's time-out plus the window.
func timeouts(s *stack) (f []string) {
	p := (*faults)(&f)
	timeout := number(s.get("IngestFunction", "Timeout"))
	if timeout < 10 || timeout > 900 { // the function keeps 4 s of it to cancel, answer and back off
		p.add("the function's Timeout is %d", timeout)
	}
	window := max(0, number(at(s.source, "Parameters", "BatchWindowSeconds", "MaxValue")))
	if visibility := number(s.get("Queue", "VisibilityTimeout")); s.ownQueue() && (visibility < 6*timeout+window || visibility > 43_200) {
		p.add("VisibilityTimeout %d is not between 6 x %d + %d and 43200", visibility, timeout, window)
	}
	for _, name := range []string{"BatchWindowSeconds", "BatchSize", "MaximumConcurrency"} {
		if number(at(s.source, "Parameters", name, "MaxValue")) < 0 {
			p.add("parameter %s has no MaxValue", name)
		}
	}
	return f
}

// redrive: a day of outage passes under the function's back-off, also if chance makes every delay as short as it can be.
func redrive(s *stack) (f []string) {
	if !s.ownQueue() {
		return nil
	}
	p := (*faults)(&f)
	p.equal("deadLetterTargetArn", s.get("Queue", "RedrivePolicy", "deadLetterTargetArn"), arn("sqs", "DeadLetterQueue"))
	_, most := receivesOfADay()
	if count := number(s.get("Queue", "RedrivePolicy", "maxReceiveCount")); count < most || count > 1000 {
		p.add("maxReceiveCount is %d; a day of outage is up to %d receives, and SQS takes up to 1000", count, most)
	}
	return f
}

// receivesOfADay is how many receives a message must be allowed to outlive a day of outage: as is to be expected, and at most.
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

// deadLetterQueue: there, of the source's kind, and keeping messages longer than the source, whose send time they keep.
func deadLetterQueue(s *stack) (f []string) {
	p := (*faults)(&f)
	if _, ok := s.resources["DeadLetterQueue"]; !ok {
		p.add("there is no DeadLetterQueue")
		return f
	}
	p.equal("FIFO of the dead-letter queue", s.get("DeadLetterQueue", "FifoQueue") == true, s.fifo())
	if s.ownQueue() {
		p.equal("FIFO of the queue", s.get("Queue", "FifoQueue") == true, s.fifo())
	}
	if s.get("Queue", "ContentBasedDeduplication") != nil {
		p.add("content-based deduplication loses the second of two equal events")
	}
	p.equal("DEAD_LETTER_QUEUE_URL", s.get("IngestFunction", "Environment", "Variables", "DEAD_LETTER_QUEUE_URL"), s.ref("DeadLetterQueue"))
	dead, source := number(s.get("DeadLetterQueue", "MessageRetentionPeriod")), number(s.get("Queue", "MessageRetentionPeriod"))
	if s.ownQueue() && (source < 2*24*3600 || dead <= source) || dead > 1_209_600 {
		p.add("the queue keeps messages for %d s and the dead-letter queue for %d", source, dead)
	}
	return f
}

// messageSize: said, since the default has changed once, and with room for the reject's attribute in the dead-letter queue.
func messageSize(s *stack) (f []string) {
	p := (*faults)(&f)
	dead, source := number(s.get("DeadLetterQueue", "MaximumMessageSize")), number(s.get("Queue", "MaximumMessageSize"))
	if dead < 1024 || dead > 1<<20 {
		p.add("MaximumMessageSize of the dead-letter queue is %d", dead)
	}
	if s.ownQueue() && (source < 1024 || source > dead-4096) {
		p.add("MaximumMessageSize is %d, and %d of the dead-letter queue", source, dead)
	}
	return f
}

func encryption(s *stack) (f []string) {
	for _, q := range s.ofKind("AWS::SQS::Queue") {
		managed, key := q.properties["SqsManagedSseEnabled"] == true, text(q.properties["KmsMasterKeyId"])
		if managed == (key != "") || key != text(s.parameters["QueueKmsKeyArn"]) {
			(*faults)(&f).add("%s: managed by SQS %v, key %q", q.id, managed, key)
		}
	}
	return f
}

func tlsOnly(s *stack) (f []string) {
	for _, q := range s.ofKind("AWS::SQS::Queue") {
		found := false
		for _, statement := range s.queuePolicy(q.id) {
			found = found || statement["Effect"] == "Deny" && statement["Action"] == "sqs:*" && statement["Principal"] == "*" &&
				statement["Resource"] == arn("sqs", q.id) && fmt.Sprint(statement["Condition"]) == "map[Bool:map[aws:SecureTransport:false]]"
		}
		if !found {
			(*faults)(&f).add("%s takes requests without TLS", q.id)
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

// dataOutlives: messages and the mask key are not deleted with the stack, nor replaced away.
func dataOutlives(s *stack) (f []string) {
	for _, kind := range []string{"AWS::SQS::Queue", "AWS::SecretsManager::Secret", "AWS::Lambda::Version"} {
		for _, r := range s.ofKind(kind) {
			(*faults)(&f).equal(r.id+": DeletionPolicy", r.attributes["DeletionPolicy"], "Retain")
			(*faults)(&f).equal(r.id+": UpdateReplacePolicy", r.attributes["UpdateReplacePolicy"], "Retain")
		}
	}
	return f
}

// maskKey: exactly this, for ever: a change here makes CloudFormation draw another key.
func maskKey(s *stack) (f []string) {
	p := (*faults)(&f)
	_, made := s.resources["MaskSecret"]
	p.equal("a mask key is made", made, s.parameters["MaskSecretArn"] == "" && s.parameters["UnkeyedMasks"] == "false")
	if made {
		p.equal("GenerateSecretString", s.get("MaskSecret", "GenerateSecretString"),
			map[string]any{"SecretStringTemplate": `{"primary":"k1"}`, "GenerateStringKey": "k1", "PasswordLength": 64, "ExcludePunctuation": true})
		if s.get("MaskSecret", "SecretString") != nil {
			p.add("the key is in the template")
		}
	}
	return f
}

// deadLetterReaders: nobody receives from the dead-letter queue but who is named, and who is named may do what a redrive does.
func deadLetterReaders(s *stack) (f []string) {
	want, wantAllowed := "map[]", ""
	if readers := texts(s.parameters["DeadLetterReaderArns"]); strings.Join(readers, "") != "" {
		want = fmt.Sprintf("map[ArnNotEquals:map[aws:PrincipalArn:%v]]", readers)
		wantAllowed = fmt.Sprintf("map[AWS:%v] [sqs:ReceiveMessage sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueAttributes sqs:GetQueueUrl] %s", readers, arn("sqs", "DeadLetterQueue"))
	}
	found, allowed := false, ""
	for _, statement := range s.queuePolicy("DeadLetterQueue") {
		if statement["Effect"] == "Allow" {
			allowed += fmt.Sprint(statement["Principal"], " ", statement["Action"], " ", statement["Resource"])
		}
		found = found || statement["Effect"] == "Deny" && statement["Principal"] == "*" && statement["Action"] == "sqs:ReceiveMessage" &&
			statement["Resource"] == arn("sqs", "DeadLetterQueue") && fmt.Sprint(object(statement["Condition"])) == want
	}
	if !found {
		(*faults)(&f).add("no statement denies sqs:ReceiveMessage under %s", want)
	}
	(*faults)(&f).equal("what is allowed on the dead-letter queue", allowed, wantAllowed)
	pattern := regexp.MustCompile(text(at(s.source, "Parameters", "DeadLetterReaderArns", "AllowedPattern")) + "|^never$")
	for _, wide := range []string{"*", "arn:aws:iam::123456789012:role/*", "arn:aws:iam::*:role/x", "arn:aws:iam::123456789012:root"} {
		if pattern.MatchString(wide) {
			(*faults)(&f).add("DeadLetterReaderArns takes %s", wide)
		}
	}
	return f
}

// roles: each function has one of its own. SAM would give it managed policies over every queue and log of the account.
func roles(s *stack) (f []string) {
	p := (*faults)(&f)
	seen := map[string]bool{}
	for _, fn := range s.ofKind("AWS::Serverless::Function") {
		role := text(fn.properties["Role"])
		if !strings.HasPrefix(role, "arn:aws:iam::"+account+":role/") || seen[role] {
			p.add("%s has the role %q", fn.id, role)
		}
		seen[role] = true
		if fn.properties["Policies"] != nil {
			p.add("%s has Policies beside its role", fn.id)
		}
	}
	for _, role := range s.ofKind("AWS::IAM::Role") {
		managed := texts(role.properties["ManagedPolicyArns"])
		if role.id == "DeploymentRole" { // CodeDeploy's, in the words of its manual
			p.equal("policies of CodeDeploy's role", managed, "[arn:aws:iam::aws:policy/service-role/AWSCodeDeployRoleForLambdaLimited]")
		} else if len(managed) > 0 {
			p.add("%s has managed policies", role.id)
		}
	}
	if extra := len(s.ofKind("AWS::IAM::Policy")) + len(s.ofKind("AWS::IAM::ManagedPolicy")); extra > 0 {
		p.add("%d policies outside of a role", extra)
	}
	return f
}

// statements are all that a role's own policies say.
func (s *stack) statements(role string) []map[string]any {
	var all []map[string]any
	for _, policy := range elements(s.get(role, "Policies")) {
		for _, statement := range elements(at(policy, "PolicyDocument", "Statement")) {
			all = append(all, object(statement))
		}
	}
	return all
}

// network is what EC2 wants "*" for.
var network = []string{"ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"}

// permitted is what each role may do, as "action on resource".
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
		if key := text(s.parameters["QueueKmsKeyArn"]); key != "" {
			allow(key, "kms:Decrypt", "kms:GenerateDataKey")
		}
		secrets = append(secrets, text(variables["SLUICE_MASK_SECRET_ARN"]))
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
	for _, key := range texts(s.parameters["SecretsKmsKeyArns"]) {
		if key != "" {
			allow(key, "kms:Decrypt")
		}
	}
	if variables["DATABASE_IAM_AUTH"] == "true" {
		allow(arn("rds-db", fmt.Sprintf("dbuser:%s/%s", s.parameters["DatabaseResourceId"], user)), "rds-db:connect")
	}
	if strings.Join(texts(s.parameters["SubnetIds"]), "") != "" {
		allow("*", network...)
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

// leastPrivilege: a role may do what is on its list and nothing else. The one "*" is what EC2 wants of a function in a private network,
// and it is denied to the function's own code.
func leastPrivilege(s *stack) (f []string) {
	p := (*faults)(&f)
	for _, role := range s.roleIDs() {
		may := s.permitted(role)
		for _, grant := range slices.Sorted(maps.Keys(granted(s, role))) {
			if !may[grant] {
				p.add("%s has %s", role, grant)
			}
		}
		denied, attached := []string{}, false
		for _, statement := range s.statements(role) {
			for _, key := range []string{"NotAction", "NotResource", "Principal"} {
				if statement[key] != nil {
					p.add("%s has a statement with %s", role, key)
				}
			}
			attached = attached || statement["Effect"] == "Allow" && statement["Resource"] == "*"
			function := arn("lambda", "function:mystack-"+strings.ToLower(strings.TrimSuffix(role, "Role")))
			if statement["Effect"] == "Deny" && statement["Resource"] == "*" &&
				fmt.Sprint(statement["Condition"]) == fmt.Sprintf("map[ArnEquals:map[lambda:SourceFunctionArn:%s]]", function) {
				denied = append(denied, texts(statement["Action"])...)
			}
			for _, action := range texts(statement["Action"]) {
				service := strings.TrimPrefix(fmt.Sprint(at(statement, "Condition", "StringEquals", "kms:ViaService")), "<nil>")
				if strings.HasPrefix(action, "kms:") && !regexp.MustCompile(`^(sqs|secretsmanager)\.`+region+`\.amazonaws\.com$`).MatchString(service) {
					p.add("%s has %s outside of a service: %q", role, action, service)
				}
			}
		}
		if slices.Sort(denied); attached && !slices.Equal(denied, network) {
			p.add("%s: the function's own code may use the network permissions: denied are only %v", role, denied)
		}
		p.equal(role+" is for", at(s.get(role, "AssumeRolePolicyDocument", "Statement"), 0, "Principal"), "map[Service:lambda.amazonaws.com]")
	}
	return f
}

// permissionsSuffice: what the functions are told to use, they may use.
func permissionsSuffice(s *stack) (f []string) {
	for _, role := range s.roleIDs() {
		has := granted(s, role)
		for _, need := range slices.Sorted(maps.Keys(s.permitted(role))) {
			if !has[need] {
				(*faults)(&f).add("%s lacks %s", role, need)
			}
		}
	}
	return f
}

func runtimeRule(s *stack) (f []string) {
	p := (*faults)(&f)
	functions := s.ofKind("AWS::Serverless::Function")
	want := 2
	if s.parameters["WithMigrateFunction"] == "false" {
		want = 1
	}
	p.equal("the number of functions", len(functions), want)
	for _, fn := range functions {
		p.equal(fn.id+": Runtime", fn.properties["Runtime"], "provided.al2023")
		p.equal(fn.id+": Handler", fn.properties["Handler"], "bootstrap")
		p.equal(fn.id+": Architectures", fn.properties["Architectures"], []any{s.parameters["Architecture"]})
		p.equal(fn.id+": BuildMethod", at(fn.attributes, "Metadata", "BuildMethod"), "makefile")
		p.equal(fn.id+": CodeUri", fn.properties["CodeUri"], ".")
		if memory := number(fn.properties["MemorySize"]); memory < 256 || memory > 10_240 {
			p.add("%s has %d MiB", fn.id, memory)
		}
	}
	p.equal("the default of Architecture, which the binaries may not have", at(s.source, "Parameters", "Architecture", "Default"), nil)
	p.equal("the values of Architecture", at(s.source, "Parameters", "Architecture", "AllowedValues"), "[arm64 x86_64]")
	return f
}

func privateNetwork(s *stack) (f []string) {
	want := "map[]"
	if subnets := texts(s.parameters["SubnetIds"]); strings.Join(subnets, "") != "" {
		want = fmt.Sprintf("map[SecurityGroupIds:%v SubnetIds:%v]", s.parameters["SecurityGroupIds"], subnets)
	}
	for _, fn := range s.ofKind("AWS::Serverless::Function") {
		(*faults)(&f).equal(fn.id+": VpcConfig", object(fn.properties["VpcConfig"]), want)
	}
	return f
}

// notDeclared are variables that the code reads and the template leaves alone, with the reason.
var notDeclared = map[string]string{
	"SQS_URL":               "the command line's",
	"SLUICE_METRICS_ADDR":   "the command line's",
	"DATABASE_URL_FILE":     "for containers; a function has secrets",
	"SLUICE_MASK_KEYS_FILE": "for containers; a function has secrets",
	"AWS_LAMBDA_LOG_LEVEL":  "set by Lambda, from ApplicationLogLevel",
}

// reserved are the variables that Lambda sets itself; a deploy that declares one fails. From the Lambda Developer Guide, "Defined runtime
// environment variables".
var reserved = []string{
	"_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
	"AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_LOG_LEVEL",
	"AWS_LAMBDA_LOG_FORMAT", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT",
	"LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_MAX_CONCURRENCY", "AWS_LAMBDA_METADATA_API", "AWS_LAMBDA_METADATA_TOKEN",
}

// variables: the function has every variable that the code reads, and nothing else.
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

// configuration: the code takes the environment that the template makes, and has the same defaults.
func configuration(s *stack) (f []string) {
	p := (*faults)(&f)
	c, err := config.Load(s.environ("IngestFunction"), config.Database, config.Masks)
	if err != nil {
		p.add("the ingest function: %v", err)
		return f
	}
	defaults, _ := config.Load(nil)
	p.equal("SLUICE_MODEL", c.Model.Name, defaults.Model.Name)
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
			p.equal("the migrate function's model", m.Model.Name, c.Model.Name)
		}
	}
	return f
}

// logs: kept for a time that is said, as JSON. A level over INFO would drop the metrics, which have none.
func logs(s *stack) (f []string) {
	p := (*faults)(&f)
	for _, fn := range s.ofKind("AWS::Serverless::Function") {
		group := text(at(fn.properties, "LoggingConfig", "LogGroup"))
		if number(s.get(group, "RetentionInDays")) < 1 {
			p.add("%s logs to %q, which keeps lines for ever", fn.id, group)
		}
		p.equal(fn.id+": its log group", s.get(group, "LogGroupName"), "/aws/lambda/"+text(fn.properties["FunctionName"]))
		p.equal(fn.id+": LogFormat", at(fn.properties, "LoggingConfig", "LogFormat"), "JSON")
		p.equal(fn.id+": ApplicationLogLevel", at(fn.properties, "LoggingConfig", "ApplicationLogLevel"), s.parameters["LogLevel"])
	}
	p.equal("the values of LogLevel", at(s.source, "Parameters", "LogLevel", "AllowedValues"), "[DEBUG INFO]")
	return f
}

// wantedAlarms are when each alarm rings, by its name: in how many periods, of what.
func wantedAlarms(s *stack) map[string]string {
	queue := "QueueName:" + s.sourceArn()[strings.LastIndex(s.sourceArn(), ":")+1:]
	const function = "FunctionName:IngestFunction"
	wanted := map[string]string{
		"mystack-dead-letters":   "1 of 1: Maximum in 60 s of AWS/SQS ApproximateNumberOfMessagesVisible QueueName:DeadLetterQueue > 0",
		"mystack-oldest-message": "5 of 5: Maximum in 60 s of AWS/SQS ApproximateAgeOfOldestMessage " + queue + " > " + fmt.Sprint(s.parameters["OldestMessageSeconds"]),
		"mystack-errors":         "2 of 5: Sum in 60 s of AWS/Lambda Errors " + function + " > 0",
		"mystack-throttles":      "3 of 5: Sum in 60 s of AWS/Lambda Throttles " + function + " > 0",
		"mystack-returned":       "2 of 2: Sum in 900 s of sluice Returned " + function + " > 0",
		"mystack-zero-deletes": "2 of 2: IF(FILL(received, 0) > 0 AND FILL(deleted, 0) == 0, 1, 0)" +
			"; received: Sum in 900 s of AWS/SQS NumberOfMessagesReceived " + queue +
			"; deleted: Sum in 900 s of AWS/SQS NumberOfMessagesDeleted " + queue + " > 0",
	}
	if s.parameters["GradualDeployment"] != "none" {
		wanted["mystack-rollout-returned"] = "2 of 3: Sum in 60 s of sluice Returned " + function + " > 0"
		wanted["mystack-rollout-rejected"] = "2 of 3: IF(FILL(rejected, 0) >= 10 AND 20 * FILL(rejected, 0) >= FILL(received, 0), 1, 0)" +
			"; rejected: Sum in 60 s of sluice Rejected " + function + "; received: Sum in 60 s of sluice Received " + function + " > 0"
	}
	return wanted
}

// describe says when an alarm rings.
func describe(alarm map[string]any) string {
	what := describeMetric(alarm, alarm["Statistic"], alarm["Period"])
	if alarm["Metrics"] != nil {
		var each []string
		for _, m := range elements(alarm["Metrics"]) {
			if expression := text(object(m)["Expression"]); expression != "" {
				each = append(each, expression)
			} else {
				each = append(each, text(object(m)["Id"])+": "+describeMetric(object(at(m, "MetricStat", "Metric")), at(m, "MetricStat", "Stat"), at(m, "MetricStat", "Period")))
			}
		}
		what = strings.Join(each, "; ")
	}
	periods := number(alarm["EvaluationPeriods"])
	of := periods
	if n := alarm["DatapointsToAlarm"]; n != nil {
		of = number(n)
	}
	return fmt.Sprintf("%v of %v: %s > %v", of, periods, what, number(alarm["Threshold"]))
}

func describeMetric(metric map[string]any, statistic, period any) string {
	what := fmt.Sprintf("%v in %v s of %s %s", statistic, number(period), text(metric["Namespace"]), text(metric["MetricName"]))
	for _, d := range elements(metric["Dimensions"]) {
		what += " " + text(object(d)["Name"]) + ":" + text(object(d)["Value"])
	}
	return what
}

// alarms: all that are wanted, on metrics that exist, naming their section of the manual, and telling the topic if there is one.
func alarms(s *stack) (f []string) {
	p := (*faults)(&f)
	got := map[string]string{}
	for _, a := range s.ofKind("AWS::CloudWatch::Alarm") {
		name := text(a.properties["AlarmName"])
		got[name] = describe(a.properties)
		if section := "(docs/operate.md, " + strings.TrimPrefix(name, "mystack-") + ")"; !strings.Contains(text(a.properties["AlarmDescription"]), section) {
			p.add("the description of %s does not say %s", name, section)
		}
		want := "[]"
		if topic := text(s.parameters["AlarmTopicArn"]); topic != "" {
			want = "[" + topic + "]"
		}
		p.equal(name+": AlarmActions", elements(a.properties["AlarmActions"]), want)
		p.equal(name+": OKActions", elements(a.properties["OKActions"]), want)
		p.equal(name+": TreatMissingData", a.properties["TreatMissingData"], "notBreaching")
		p.equal(name+": ComparisonOperator", a.properties["ComparisonOperator"], "GreaterThanThreshold")
	}
	wanted := wantedAlarms(s)
	for _, name := range slices.Sorted(maps.Keys(union(got, wanted))) {
		p.equal(name+" rings when", got[name], wanted[name])
	}
	for _, metric := range []string{"Received", "Rejected", "Returned"} {
		if !slices.Contains(emf.Metrics(), metric) {
			p.add("the function writes no metric %s", metric)
		}
	}
	return f
}

func union[K comparable, V any](a, b map[K]V) map[K]V {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// problems is what the dashboard asks of the log, whose lines have a level and a message.
const problems = "SOURCE 'IngestLogGroup' | filter level in ['WARN', 'ERROR'] | stats count(*) as lines, latest(@timestamp) as last by level, message | sort lines desc | limit 50"

var identifier = regexp.MustCompile(`\b[a-z][a-z_]*\b`)

// dashboard: valid JSON, which shows each of the function's metrics and none that it does not write, in expressions of what is in the same widget.
func dashboard(s *stack) (f []string) {
	p := (*faults)(&f)
	var body struct {
		Widgets []struct {
			Type       string
			Properties struct {
				Metrics [][]any
				Region  string
				Title   string
				Query   string
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
		p.equal(w.Properties.Title+": region", w.Properties.Region, region)
		if w.Type == "log" {
			p.equal(w.Properties.Title, w.Properties.Query, problems)
		}
		var last []any
		var used []string
		ids := map[string]bool{}
		for _, line := range w.Properties.Metrics {
			options := object(line[len(line)-1])
			ids[text(options["id"])] = true
			used = append(used, identifier.FindAllString(text(options["expression"]), -1)...)
			metric := shorthand(last, line)
			if len(metric) < 4 {
				continue // an expression
			}
			if last = metric; metric[0] == emf.Namespace {
				shown[fmt.Sprint(metric[1])] = true
				p.equal(w.Properties.Title+": dimension", metric[2:], "[FunctionName IngestFunction]")
			}
		}
		for _, id := range used {
			if !ids[id] {
				p.add("%s: the expression has %s, and no metric of the widget has that id", w.Properties.Title, id)
			}
		}
	}
	p.equal("the function's metrics on the dashboard", slices.Sorted(maps.Keys(shown)), slices.Sorted(slices.Values(emf.Metrics())))
	return f
}

// shorthand writes a dashboard's metric out: "." is the value above, "..." all that is missing.
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

// gradualDeployment: only when asked for, with alarms that roll back, and a mapping that follows the alias.
func gradualDeployment(s *stack) (f []string) {
	p := (*faults)(&f)
	if s.parameters["GradualDeployment"] == "none" {
		p.equal("the mapping calls", s.get("IngestMapping", "FunctionName"), "IngestFunction")
		for _, id := range []string{"LiveVersion", "LiveAlias", "DeploymentGroup", "DeploymentApplication", "DeploymentRole"} {
			if _, ok := s.resources[id]; ok {
				p.add("%s is there", id)
			}
		}
		return f
	}
	p.equal("the mapping calls", s.get("IngestMapping", "FunctionName"), arn("lambda", "function:LiveAlias"))
	p.equal("the alias is of", s.get("LiveAlias", "FunctionName"), "IngestFunction")
	p.equal("the alias shows", s.get("LiveAlias", "FunctionVersion"), "LiveVersion")
	p.equal("the version is new with", s.get("LiveVersion", "Description"), s.parameters["Revision"])
	if description := text(s.get("IngestFunction", "Description")); !strings.HasSuffix(description, " Revision "+text(s.parameters["Revision"])) {
		p.add("the function is the same after a deploy of the same code (%q), and Lambda makes no new version of what has not changed", description)
	}
	p.equal("the alias moves by", at(object(s.resources["LiveAlias"].attributes["UpdatePolicy"]), "CodeDeployLambdaAliasUpdate", "DeploymentGroupName"), map[string]any{"Ref": "DeploymentGroup"})
	p.equal("the way", s.get("DeploymentGroup", "DeploymentConfigName"), fmt.Sprintf("CodeDeployDefault.Lambda%s", s.parameters["GradualDeployment"]))
	p.equal("rolled back by", s.get("DeploymentGroup", "AlarmConfiguration"), "map[Alarms:[map[Name:ErrorsAlarm] map[Name:RolloutReturnedAlarm] map[Name:RolloutRejectedAlarm]] Enabled:true]")
	if !slices.Contains(texts(s.get("DeploymentGroup", "AutoRollbackConfiguration", "Events")), "DEPLOYMENT_STOP_ON_ALARM") {
		p.add("an alarm does not roll back")
	}
	return f
}

func outputs(s *stack) (f []string) {
	want := []string{"DashboardUrl", "DeadLetterQueueArn", "DeadLetterQueueUrl", "EventSourceMappingId", "IngestFunctionName", "IngestRoleArn", "QueueArn"}
	if s.ownQueue() {
		want = append(want, "QueueUrl")
	}
	if s.parameters["WithMigrateFunction"] == "true" {
		want = append(want, "MigrateFunctionName")
	}
	if s.parameters["UnkeyedMasks"] == "false" {
		want = append(want, "MaskSecretArn")
	}
	slices.Sort(want)
	(*faults)(&f).equal("the outputs", slices.Sorted(maps.Keys(s.outputs)), want)
	for name := range object(s.source["Outputs"]) {
		if text(at(s.source, "Outputs", name, "Description")) == "" {
			(*faults)(&f).add("output %s says nothing", name)
		}
	}
	return f
}

// untaggable are the kinds that take no tags.
var untaggable = []string{"AWS::SQS::QueuePolicy", "AWS::CloudWatch::Dashboard", "AWS::Lambda::Version", "AWS::Lambda::Alias"}

func tags(s *stack) (f []string) {
	for _, id := range slices.Sorted(maps.Keys(s.resources)) {
		r := s.resources[id]
		if slices.Contains(untaggable, r.kind) {
			continue
		}
		has := object(r.properties["Tags"]) // SAM's form
		if has == nil {
			has = map[string]any{}
			for _, tag := range elements(r.properties["Tags"]) {
				has[text(object(tag)["Key"])] = object(tag)["Value"]
			}
		}
		(*faults)(&f).equal("tags of "+id, has, map[string]any{"application": "sluice", "stage": s.parameters["Stage"]})
	}
	return f
}

// nothingUnused: every parameter and condition is used, and every parameter is described and in a group.
func nothingUnused(s *stack) (f []string) {
	p := (*faults)(&f)
	used := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				switch key {
				case "Ref", "Condition":
					used[text(value)] = true
				case "Fn::If":
					used[text(elements(value)[0])] = true
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
	var grouped []string
	for _, group := range elements(at(s.source, "Metadata", "AWS::CloudFormation::Interface", "ParameterGroups")) {
		grouped = append(grouped, texts(object(group)["Parameters"])...)
	}
	slices.Sort(grouped)
	p.equal("the parameters in groups", grouped, slices.Sorted(maps.Keys(object(s.source["Parameters"]))))
	for _, section := range []string{"Parameters", "Conditions"} {
		for _, name := range slices.Sorted(maps.Keys(object(s.source[section]))) {
			if !used[name] {
				p.add("nothing uses %s", name)
			}
			if section == "Parameters" && text(at(s.source, section, name, "Description")) == "" {
				p.add("parameter %s says nothing", name)
			}
		}
	}
	return f
}
