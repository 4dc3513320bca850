package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/outbreak"
	"lazaret/internal/quarantine"
)

// Quarantines is what the quarantine commands work on. What somebody may see
// and do there is decided by the service.
type Quarantines struct {
	Service *quarantine.Service
	Config  *config.Store    // of the settings; nil: no quarantineconfig
	Clock   func() time.Time // nil: time.Now; its zone is that of dates that are typed
}

// maxMIDs is how many messages one line may name.
const maxMIDs = 1000

const conditions = `[CONDITION...] [--limit N] [--after PLACE] [--total] [--json]
CONDITION: quarantine NAME, sender TEXT, recipient TEXT, subject TEXT, reason TEXT, rule ID (of outbreak filters), message-id ID, gateway NAME,
mid N, esa_mid N, state WORD, since DATE, until DATE, attachment TEXT, attachment-type TEXT, attachment-min SIZE,
attachment-max SIZE, body TEXT; each also as NAME=TEXT or --NAME TEXT.
sender, recipient, subject, reason, attachment (its name) and attachment-type look for text inside; with -is, -starts or -ends behind the name, for the
whole, the start or the end; with -not, -not-is, -not-starts or -not-ends, for what is not so. Case never counts.
All attachment conditions are about one attachment; SIZE is of the decoded content: bytes, or 30K, 5M.
body and body-not look into the text of messages, where the quarantine rules have search_text.
gateway-not NAME and state-not WORD: all others, with state-not deleted ones too.
Newest come first; order oldest turns that round. order COLUMN sorts by received, sender, recipient, subject, size,
quarantine, exit or gateway, and COLUMN-desc the other way round. --after goes on behind the last message of the
page before: its MID, or with order COLUMN what stands at the end of the page. --total says how many there are in
all, in JSON as a last line. DATE is 2026-03-01 or 2026-03-01T15:04.`

// Commands gives the quarantine commands.
func (q Quarantines) Commands() []Command {
	if q.Clock == nil {
		q.Clock = time.Now
	}
	cmd := func(name, summary, usage string, max int, run func(context.Context, *Call) error) Command {
		return Command{Name: "quarantine " + name, Summary: summary, Usage: "quarantine " + name + " " + usage, Right: auth.Quarantine, MaxArgs: max, Run: run}
	}
	all := []Command{
		cmd("list", "Show the quarantines", "[--json]", 1, q.list),
		cmd("search", "Find quarantined messages", conditions, 100, q.search),
		cmd("show", "Show one message, or its content", "MID [--content | --base64] [--json]\nquarantine show MID --part PART [--base64]\nWith --base64 the exact bytes of the message, or of the part when it is saved: ... | base64 -d >file", 5, q.show),
		cmd("parts", "List the parts of one message", "MID [--json]", 2, q.parts),
		cmd("release", "Release messages from one or all quarantines", selection+decided, maxMIDs+2, q.release),
		cmd("delete", "Delete messages from one or all quarantines", selection+decided, maxMIDs+2, q.delete),
		cmd("undo", "Take back what was decided, while it can be", "MID...\nquarantine undo --decision N", maxMIDs, q.undo),
		cmd("delay", "Let messages leave later than scheduled", "--by TIME "+selection+"\nTIME is 8h, 24h, 48h, 1w or any such time.", maxMIDs+4, q.delay),
		cmd("move", "Move messages into another policy quarantine", "--from NAME --to NAME MID...\nquarantine move --from NAME --to NAME --all [CONDITION...]", maxMIDs+4, q.move),
		cmd("rescan", "Have messages scanned again by their gateways", selection+rescanned, maxMIDs+2, q.rescan),
		cmd("copy", "Send copies of messages to an address; nothing else changes", "--to ADDRESS MID...\nquarantine copy --to ADDRESS --all [CONDITION...]\n--to may be given up to ten times. A copy leaves at once, from here.", maxMIDs+4, q.copies),
		cmd("report", "Report messages in Outbreak to whoever makes the rules", "--as false-positive|suspicious "+selection+"\nA copy goes to the address that quarantineconfig rules has (report_false_positive, report_suspicious; none at first).", maxMIDs+4, q.report),
		cmd("hold", "Keep messages from leaving, whoever wants it", "MID... --why TEXT\nquarantine hold MID... --lift", maxMIDs+2, q.hold),
		cmd("rules", "Show what each outbreak rule holds", "[--json]\n\nAll that one rule holds: quarantine search --rule ID, quarantine release --all --quarantine Outbreak --rule ID, quarantine delete --all ...", 1, q.rules),
		cmd("forecast", "Say when the pool is full, and what the clock will do", "[--at DATE] [--json]", 3, q.forecast),
	}
	offers := map[string][]string{"search": nil, "list": {"--json"}, "show": {"--content", "--base64", "--json", "--part"}, "parts": {"--json"},
		"release": {"--quarantine", "--all"}, "delete": {"--quarantine", "--all"}, "undo": {"--decision"}, "delay": {"--by", "--quarantine", "--all"},
		"move": {"--from", "--to", "--all"}, "copy": {"--to", "--all"}, "report": {"--as", "--all"}, "hold": {"--why", "--lift"}, "forecast": {"--at", "--json"}}
	for i := range all {
		name := strings.TrimPrefix(all[i].Name, "quarantine ")
		if words := offers[name]; name == "copy" { // its --to is an address
			all[i].Offers = func(_ context.Context, _ mail.Principal, given []string) []string {
				if slices.Contains(given, "--all") {
					return conditionWords
				}
				return words
			}
		} else {
			all[i].Offers = q.searchOffers(words...)
		}
	}
	if q.Config != nil {
		all = append(all, Command{Name: "quarantineconfig", Summary: "Create, change and delete quarantines", Usage: quarantineConfigUsage,
			Right: auth.ConfigChange, MaxArgs: 20, Run: q.quarantineConfig, Offers: q.configOffers})
	}
	return all
}

// selection is how messages are named to what changes them.
const selection = `MID... [--quarantine NAME]
or, in place of the numbers, --all [CONDITION...]: all held messages that quarantine search would find`

const decided = "\nWhat was decided can be taken back for a while: quarantine undo. See quarantineconfig."

func (q Quarantines) list(ctx context.Context, c *Call) error {
	opt, err := c.options("--json")
	if err != nil {
		return err
	}
	all, err := q.Service.Quarantines(ctx, c.Principal)
	if err != nil {
		return err
	}
	if !opt.has("--json") {
		c.Printf(" #  Quarantine Name        Messages     Size (KB)  Retention  Policy   Last Message\n")
	}
	for i, l := range all {
		if opt.has("--json") {
			if err := jsonLine(c, listing(l)); err != nil {
				return err
			}
			continue
		}
		last := "-"
		if !l.Last.IsZero() {
			last = stamp(l.Last)
		}
		c.Printf("%2d  %-20s %10s  %12s  %9s  %-7s  %s\n", i+1, Plain(l.Name), comma(l.Messages), comma((l.Bytes+1023)/1024), config.FormatRetention(l.Retention), l.DefaultAction, last)
	}
	return nil
}

// listedJSON is the object of quarantine list --json. Names may be added, none
// changed.
type listedJSON struct {
	Name          string            `json:"name"`
	Kind          quarantine.Kind   `json:"kind"`
	Retention     string            `json:"retention"` // 10d, 1h
	DefaultAction quarantine.Action `json:"default_action"`
	Messages      int64             `json:"messages"`
	Bytes         int64             `json:"bytes"`
	Last          *time.Time        `json:"last"` // null: nothing came yet
	Gone          bool              `json:"gone"`
}

func listing(l quarantine.Listed) listedJSON {
	o := listedJSON{Name: l.Name, Kind: l.Kind, Retention: config.FormatRetention(l.Retention), DefaultAction: l.DefaultAction,
		Messages: l.Messages, Bytes: l.Bytes, Gone: l.Gone}
	if !l.Last.IsZero() {
		last := l.Last.UTC()
		o.Last = &last
	}
	return o
}

// jsonLine writes one object on one line. What JSON leaves as it is and a
// terminal would act on is escaped by the output, in a form that JSON reads.
func jsonLine(c *Call, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return errs.Wrap(errs.Internal, err, "encoding")
	}
	_, err := c.Write(b.Bytes())
	return err
}

func (q Quarantines) search(ctx context.Context, c *Call) error {
	query, given, err := q.parseQuery(c, "--json", "--total")
	if err != nil {
		return err
	}
	n, last, asJSON := 0, quarantine.Cursor{}, given["--json"]
	head := func() { // not above a refusal
		if n == 0 && !asJSON {
			c.Printf("MID        Gateway MID          Received             Sender / Recipients / Subject\n")
		}
	}
	for m, err := range q.Service.Search(ctx, c.Principal, query) {
		if err != nil {
			return err
		}
		head()
		n++
		if last, err = m.Place(); err != nil {
			return err
		}
		if asJSON {
			if err := jsonLine(c, m); err != nil {
				return err
			}
			continue
		}
		row(c, m)
		if err := c.Err(); err != nil {
			return err
		}
	}
	head()
	return q.foundAll(ctx, c, query, page{n, last, asJSON, given["--total"]})
}

// page is what of a list was shown.
type page struct {
	n           int
	last        quarantine.Cursor
	json, total bool
}

// totalJSON is the last line of quarantine search --total --json. Names may be
// added, none changed.
type totalJSON struct {
	Total int64  `json:"total"`
	Exact bool   `json:"exact"`           // false: an estimate
	Shown int    `json:"shown"`           // on this page
	After string `json:"after,omitempty"` // where the next page begins
}

// foundAll says how many messages there are, and how to see the others.
func (q Quarantines) foundAll(ctx context.Context, c *Call, query quarantine.Query, p page) error {
	full := query.Limit > 0 && p.n == query.Limit
	if p.json && !p.total {
		return nil
	}
	all := quarantine.Total{Messages: int64(p.n), Exact: true}
	if full || query.After.MID != 0 {
		var err error
		if all, err = q.Service.Count(ctx, c.Principal, query); err != nil {
			return err
		}
	}
	if p.json {
		t := totalJSON{Total: all.Messages, Exact: all.Exact, Shown: p.n}
		if full {
			t.After = p.last.String()
		}
		return jsonLine(c, t)
	}
	about := "about "
	if all.Exact {
		about = ""
	}
	switch {
	case !full && query.After.MID == 0:
		c.Printf("\n%s messages found.\n", comma(p.n))
	case full && (!all.Exact || all.Messages > int64(p.n)):
		c.Printf("\n%s of %s%s messages shown. The next: --after %s\n", comma(p.n), about, comma(all.Messages), p.last)
	default:
		c.Printf("\n%s of %s%s messages shown.\n", comma(p.n), about, comma(all.Messages))
	}
	return nil
}

func row(c *Call, m *quarantine.Message) {
	var where []string
	for _, l := range m.Quarantines {
		where = append(where, l.Name+" ("+l.State+")")
	}
	c.Printf("%-10s %-20s %-20s <%s> -> %s\n", m.MID, Clip(m.GatewayMID.String()+" "+m.Gateway, 20), m.Received.Format("2006-01-02 15:04:05"),
		Plain(m.From()), Clip(strings.Join(m.To(), ", "), 120))
	c.Printf("%52s %s\n%52s %s: %s\n", "", oneLine(m.Subject, 120), "", Plain(m.State), Clip(strings.Join(where, ", "), 200))
}

// conditions reads NAME VALUE, NAME=VALUE and --NAME VALUE until the end of the
// words, and gives which of the flags stood among them.
func (c *Call) conditions(set func(name, value string) error, flags ...string) (given map[string]bool, err error) {
	given = make(map[string]bool)
	for len(c.Args) > 0 {
		word := c.Take()
		if slices.Contains(flags, word) {
			given[word] = true
			continue
		}
		name, value, inline := strings.Cut(strings.TrimPrefix(word, "--"), "=")
		if !inline {
			if len(c.Args) == 0 {
				return nil, Usage("%q needs a value", Clip(word, 60))
			}
			value = c.Take()
		}
		if err := set(strings.ToLower(name), value); err != nil {
			return nil, badArguments(err)
		}
	}
	return given, nil
}

// parseQuery reads conditions in any of their three forms.
func (q Quarantines) parseQuery(c *Call, flags ...string) (quarantine.Query, map[string]bool, error) {
	var query quarantine.Query
	given, err := c.conditions(func(name, value string) error { return q.condition(&query, name, value) }, flags...)
	if err != nil {
		return query, nil, err
	}
	return query, given, badArguments(query.Check())
}

func (q Quarantines) condition(query *quarantine.Query, name, value string) (err error) {
	text := quarantine.Text{Text: value}
	base := name
	for suffix, op := range map[string]quarantine.Op{"-is": quarantine.Is, "-starts": quarantine.StartsWith, "-ends": quarantine.EndsWith} {
		if b, ok := strings.CutSuffix(name, suffix); ok {
			base, text.Op = b, op
		}
	}
	base, text.Not = strings.CutSuffix(base, "-not")
	switch base {
	case "sender", "from":
		query.Sender = text
		return nil
	case "recipient", "to":
		query.Recipient = text
		return nil
	case "subject":
		query.Subject = text
		return nil
	case "reason":
		query.Reason = text
		return nil
	case "body":
		query.Body = text
		return nil
	case "attachment":
		query.Attachment.Name = text
		return nil
	case "attachment-type":
		query.Attachment.Type = text
		return nil
	}
	switch name {
	case "quarantine":
		query.Quarantine = value
	case "rule":
		if err = outbreak.CheckID(value); err == nil {
			query.Reason = quarantine.Text{Op: quarantine.Is, Text: mail.OutbreakReason(value)}
		}
	case "gateway":
		query.Gateway = value
	case "message-id", "message_id":
		query.MessageID = value
	case "order":
		err = order(query, value)
	case "mid", "id":
		query.MID, err = mail.ParseMID(value)
	case "esa_mid", "esa-mid":
		query.GatewayMID, err = mail.ParseMID(value)
	case "after":
		query.After, err = quarantine.ParseCursor(value)
	case "state":
		var s quarantine.State
		s, err = quarantine.ParseState(value)
		query.States = append(query.States, s)
	case "state-not":
		var s quarantine.State
		s, err = quarantine.ParseState(value)
		query.NotStates = append(query.NotStates, s)
	case "gateway-not":
		query.NotGateway = value
	case "since":
		query.Since, err = q.date(value)
	case "until":
		query.Until, err = q.date(value)
	case "attachment-min":
		query.Attachment.Min, err = config.ParseSize(value)
	case "attachment-max":
		query.Attachment.Max, err = config.ParseSize(value)
	case "limit":
		if query.Limit, err = strconv.Atoi(value); err != nil || query.Limit < 1 {
			err = Usage("limit needs a number above zero, not %q", value)
		}
	default:
		err = Usage("there is no condition %q", name)
	}
	return err
}

// order reads newest, oldest, or the name of a column, with -desc for the other
// way round.
func order(query *quarantine.Query, word string) (err error) {
	switch word {
	case "newest", "oldest":
		query.By, query.Ascending = quarantine.ByArrival, word == "oldest"
		return nil
	}
	name, down := strings.CutSuffix(word, "-desc")
	query.By, err = quarantine.ParseColumn(name)
	query.Ascending = !down
	return err
}

func (q Quarantines) date(s string) (time.Time, error) {
	zone := q.Clock().Location()
	for _, layout := range []string{"2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, Usage("%q is not a date such as 2026-03-01 or 2026-03-01T15:04", s)
}

func (q Quarantines) show(ctx context.Context, c *Call) error {
	opt, err := c.options("--content", "--base64", "--json", "--part=")
	if err != nil {
		return err
	}
	mids, err := parseMIDs(c.Args)
	if err != nil || len(mids) != 1 {
		return Usage("show needs one message ID")
	}
	if part := opt.last("--part"); part != "" {
		return q.part(ctx, c, mids[0], part, opt.has("--base64"))
	}
	if opt.has("--content") || opt.has("--base64") {
		return q.content(ctx, c, mids[0], opt.has("--base64"))
	}
	m, err := q.Service.Show(ctx, c.Principal, mids[0])
	if err != nil {
		return err
	}
	if opt.has("--json") {
		return jsonLine(c, m)
	}
	details(c, m)
	return q.preview(ctx, c, m)
}

// content prints the whole of it: as text, with what could act on a terminal
// spelled out, or in base64, which keeps every byte.
func (q Quarantines) content(ctx context.Context, c *Call, mid mail.MID, exact bool) error {
	r, err := q.Service.Content(ctx, c.Principal, mid)
	if err != nil {
		return err
	}
	defer r.Close()
	if !exact {
		_, err = io.Copy(c, r)
		return err
	}
	return inBase64(c, r)
}

func details(c *Call, m *quarantine.Message) {
	field := func(name, value string) { c.Printf("%-14s %s\n", name+":", Plain(value)) }
	field("MID", m.MID.String())
	field("Gateway", m.Gateway+" ("+m.Serial+"), MID "+m.GatewayMID.String())
	field("State", m.State)
	field("Sender", asWritten("<"+m.Sender+">", "<"+m.From()+">"))
	for i, r := range m.Recipients {
		field("Recipient", asWritten(r, m.To()[i]))
	}
	field("Subject", m.Subject)
	field("Message-ID", m.MessageID)
	field("Received", stamp(m.Received)+", at the gateway "+stamp(m.Accepted))
	field("Size", comma(m.Size)+" bytes")
	field("SHA-256", m.SHA256)
	for _, a := range m.Attachments {
		field("Attachment", attachmentLine(&a))
	}
	if n := m.Attached - len(m.Attachments); n > 0 {
		field("Attachment", "and "+comma(n)+" more")
	}
	for _, l := range m.Quarantines {
		line := l.Name + ": " + l.State + " (" + l.Reason + ")"
		if l.Left.IsZero() {
			line += ", leaves on " + stamp(l.Exit)
		} else {
			line += ", left on " + stamp(l.Left) + ", " + l.Cause
		}
		if l.By != "" {
			line += " by " + l.By
		}
		field("Quarantine", line)
	}
	showMatches(c, m)
	if m.Hold != nil {
		field("Hold", "since "+stamp(m.Hold.At)+" by "+m.Hold.By+" ("+m.Hold.Why+")")
	}
	if !m.Until.IsZero() {
		field("Undo", "until "+stamp(m.Until)+": quarantine undo "+m.MID.String())
	}
	if m.Others {
		field("Quarantine", "others that you may not see")
	}
	for i := range m.Release {
		field("Release", releaseChain(m.Gateway, &m.Release[i]))
	}
	c.Printf("Whole content: quarantine show %s --content\n", m.MID)
}

// attachmentLine shows one attachment. A second name that a reader could see is
// shown as well: it is there to deceive.
func attachmentLine(a *quarantine.AttachmentView) string {
	name := a.Name
	if name == "" {
		name = "without a name"
	}
	for _, n := range a.Other {
		name += ", or " + n
	}
	return Clip(name, 300) + " (" + Clip(a.Type, 80) + ", " + comma(a.Size) + " bytes)"
}

// asWritten gives an address as people write it, and behind it as it was
// received: two that look the same are told apart.
func asWritten(received, shown string) string {
	if received == shown {
		return shown
	}
	return shown + " (" + received + ")"
}
