package admin

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/console"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// TraceQuery is a message that nobody has sent.
type TraceQuery struct {
	Listener string
	IP       netip.Addr
	Host     string // of the client; "" is looked up
	Helo     string
	User     string // who logged in; "" nobody
	From     mail.Address
	To       []mail.Address
	Content  []byte // CRLF line ends
	Final    bool   // what the message would be in the end is wanted
}

// Trace is what would become of a message. Its JSON is the object of trace
// --json: names may be added, none change.
type Trace struct {
	Listener   string           `json:"listener"`
	Client     TraceClient      `json:"client"`
	Refused    string           `json:"refused,omitempty"` // what the client is told, with which it all ends
	Sender     string           `json:"sender"`
	Recipients []TraceRecipient `json:"recipients"`
	Size       int              `json:"size"`

	Filters     []TraceFilter `json:"filters"`
	SenderAuth  string        `json:"sender_authentication,omitempty"`
	Attachments []TraceInside `json:"attachments,omitempty"`
	Ambiguous   string        `json:"ambiguous,omitempty"`
	Parts       []TracePart   `json:"parts"`
	Waits       string        `json:"waits,omitempty"` // why it would stay in the work queue
}

// TraceClient is what a listener makes of a client.
type TraceClient struct {
	IP        netip.Addr `json:"ip"`
	Host      string     `json:"host"`
	Verified  bool       `json:"verified"`
	Group     string     `json:"sender_group"`
	Match     string     `json:"match"` // the entry of the group
	Policy    string     `json:"policy"`
	Behaviour string     `json:"behavior"`

	MaxSize       int64  `json:"max_message_size"`
	MaxRecipients int    `json:"max_recipients"`
	TLS           string `json:"tls"`
}

// TraceRecipient is what becomes of a recipient in the dialogue.
type TraceRecipient struct {
	Address  string `json:"address"`
	Match    string `json:"rat_match,omitempty"`
	Reply    string `json:"reply"`
	Accepted bool   `json:"accepted"`
}

// TraceFilter is the way through one message filter.
type TraceFilter struct {
	Name    string      `json:"name"`
	Rules   []TraceRule `json:"rules"`
	Actions []string    `json:"actions"`
}

// TraceRule is one rule that was asked.
type TraceRule struct {
	Rule    string       `json:"rule"`
	Result  bool         `json:"result"`
	Matched []TraceMatch `json:"matched,omitempty"`
}

// TraceMatch is what a rule matched.
type TraceMatch struct {
	Part string `json:"part"` // as in mail.Matched
	Text string `json:"text"`
}

// TraceInside is something found in an attachment.
type TraceInside struct {
	Finding string `json:"finding"`
	Path    string `json:"path"`
}

// TracePart is one policy's recipients of the message.
type TracePart struct {
	Table      string             `json:"table,omitempty"`
	Policy     string             `json:"policy,omitempty"`
	Recipients []string           `json:"recipients"`
	Antispam   string             `json:"antispam"`
	Antivirus  []string           `json:"antivirus"`
	Files      string             `json:"file_analysis,omitempty"`
	Filters    []TraceFilter      `json:"content_filters,omitempty"`
	Outbreak   string             `json:"outbreak,omitempty"`
	DLP        string             `json:"dlp,omitempty"`
	Drop       string             `json:"drop,omitempty"` // who dropped it
	Quarantine []mail.Placement   `json:"quarantine"`
	Copies     []mail.Placement   `json:"copies"`
	Headers    []string           `json:"headers"` // put on top
	Changes    []string           `json:"changes"` // of the content
	Notes      []string           `json:"log_entries"`
	Final      string             `json:"message,omitempty"`
	Next       []TraceDestination `json:"destinations"`
}

// TraceDestination is where a part would go next.
type TraceDestination struct {
	Name       string   `json:"name"`
	Recipients []string `json:"recipients"`
}

// Tracer judges messages that nobody has sent: nothing is stored, counted or
// sent on.
type Tracer interface {
	TraceListeners() []string
	Trace(ctx context.Context, q TraceQuery) (*Trace, error)
}

const traceUsage = `trace
trace --ip ADDRESS --from ADDRESS --to ADDRESS[,ADDRESS...] [--listener NAME] [--host NAME] [--helo NAME] [--user NAME] [--message] [--json]
    (the message is read from the input)

Says what would become of a message: by which listener and sender group it is taken, what each filter, policy and
engine says, and where each part goes.  Nothing is sent, stored or counted.  --from "" is the null sender;
--host is the client's name, otherwise DNS is asked; --message shows the message as it would go on.`

// maxTraced is the longest message that is traced, in bytes.
const maxTraced = 10 << 20

// TraceCommand gives trace (reference 6.8).
func TraceCommand(t Tracer) Command {
	return Command{Name: "trace", Summary: "Say what would become of a message", Usage: traceUsage, Right: auth.ConfigView, MaxArgs: 20, Input: true, Run: tracing{t}.run}
}

type tracing struct{ t Tracer }

func (t tracing) run(ctx context.Context, c *Call) error {
	opt, err := c.options("--ip=", "--host=", "--helo=", "--user=", "--listener=", "--from=", "--to=", "--message", "--json")
	if err != nil {
		return err
	}
	if len(c.Args) > 0 {
		return Usage("%q is not an option", Clip(c.Args[0], 60))
	}
	q, err := t.query(c, opt)
	if err != nil {
		return err
	}
	if q.Content, err = readMessage(c); err != nil {
		return err
	}
	q.Final = opt.has("--message")
	tr, err := t.t.Trace(ctx, q)
	if err != nil {
		return err
	}
	if opt.has("--json") {
		return jsonLine(c, tr)
	}
	printTrace(c, &q, tr)
	if c.Batch || q.Final || len(tr.Parts) == 0 {
		return c.Err()
	}
	if q.Final, err = c.Confirm("Would you like to see the resulting message?", true); err != nil || !q.Final {
		return err
	}
	if tr, err = t.t.Trace(ctx, q); err != nil {
		return err
	}
	for i := range tr.Parts {
		printFinal(c, &tr.Parts[i])
	}
	return c.Err()
}

// query takes what the options say and asks for the rest.
func (t tracing) query(c *Call, opt options) (q TraceQuery, err error) {
	given := func(name, question, def string) string {
		if err != nil {
			return ""
		}
		if v, ok := opt[name]; ok {
			return v[len(v)-1]
		}
		if c.Batch {
			return def
		}
		var answer string
		answer, err = c.Ask(question, def)
		return answer
	}
	ip := given("--ip", "Enter the source IP:", "")
	q.Host = given("--host", "Enter the fully qualified domain name of the source IP, or nothing to have it looked up:", "")
	names := t.t.TraceListeners()
	if len(names) == 0 {
		return q, errs.New(errs.NotFound, "There is no listener")
	}
	if q.Listener = names[0]; err == nil {
		if v, ok := opt["--listener"]; ok {
			q.Listener = v[len(v)-1]
		} else if !c.Batch && len(names) > 1 {
			var i int
			if i, err = c.Pick("Select the listener to trace behavior on:", names, 0); err == nil {
				q.Listener = names[i]
			}
		}
	}
	from := given("--from", "Enter the Envelope Sender address, <> for none:", "")
	to := given("--to", "Enter the Envelope Recipient addresses.  Separate multiple addresses by commas.", "")
	q.Helo, q.User = given("--helo", "Enter the name by which the source greets:", "localhost"), ""
	if v, ok := opt["--user"]; ok {
		q.User = v[len(v)-1]
	}
	if err != nil {
		return q, err
	}
	if q.IP, err = netip.ParseAddr(ip); err != nil {
		return q, Usage("%q is not an IP address", Clip(ip, 60))
	}
	q.IP = q.IP.Unmap()
	if from = strings.Trim(from, "<>"); from != "" {
		if q.From, err = mail.ParseAddress(from); err != nil {
			return q, Usage("%q is not an address", Clip(from, 60))
		}
	}
	for _, w := range strings.Split(to, ",") {
		a, err := mail.ParseAddress(strings.Trim(strings.TrimSpace(w), "<>"))
		if err != nil || a.IsNull() {
			return q, Usage("%q is not an address", Clip(w, 60))
		}
		q.To = append(q.To, a)
	}
	return q, nil
}

// readMessage reads a message to the end of the input or, typed, to a lone dot.
func readMessage(c *Call) ([]byte, error) {
	if !c.Batch {
		c.Printf("Enter or paste the message here.  Enter '.' on its own line to end.\n")
	}
	var b strings.Builder
	for {
		line, err := c.Line("")
		switch {
		case errors.Is(err, console.ErrInterrupt):
			return nil, err
		case errors.Is(err, io.ErrShortBuffer):
			return nil, errs.New(errs.Invalid, "A line of the message is longer than 64 KiB")
		case errors.Is(err, io.EOF) && c.Batch, err == nil && !c.Batch && line == ".":
			if b.Len() == 0 {
				return nil, Usage("there is no message")
			}
			return []byte(b.String()), nil
		case err != nil:
			return nil, err
		case b.Len()+len(line) > maxTraced:
			return nil, errs.New(errs.Invalid, "The message is longer than %d bytes", maxTraced)
		}
		b.WriteString(line + "\r\n")
	}
}
