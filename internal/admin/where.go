package admin

import (
	"context"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/mail"
	"lazaret/internal/peer"
	"lazaret/internal/tracking"
)

// Found is what is known of the messages that were asked for.
type Found struct {
	Rows  []tracking.Row
	Asked []tracking.Asked // who was asked, ourselves first
}

// Tracker answers where messages are. note hears how far it is.
type Tracker interface {
	Where(ctx context.Context, p mail.Principal, q tracking.Query, note func(text string)) (Found, error)
}

const whereUsage = `[CONDITION...] [--since DATE] [--until DATE] [--limit N] [--json]
CONDITION: sender TEXT, recipient TEXT, subject TEXT, message-id ID, mid N, esa_mid N; each also as NAME=TEXT or --NAME TEXT.
Texts are looked for inside; case never counts. mid is this appliance's number, esa_mid that of a gateway.
DATE is 2026-03-01 or 2026-03-01T15:04; without one: the last 7 days. The newest 50 messages are told of, or N (at most 1000).`

// WhereCommands gives where; with alias also under a second name.
func WhereCommands(t Tracker, clock func() time.Time, alias ...string) (all []Command) {
	w := where{t, clock}
	for _, name := range append([]string{"where"}, alias...) {
		all = append(all, Command{Name: name, Summary: "Say what became of a message", Usage: name + " " + whereUsage, Right: auth.Logs, MaxArgs: 40, Run: w.run})
	}
	return all
}

type where struct {
	t     Tracker
	clock func() time.Time
}

func (w where) run(ctx context.Context, c *Call) error {
	q, asJSON, err := w.parse(c)
	if err != nil {
		return err
	}
	f, err := w.t.Where(ctx, c.Principal, q, w.progress(c, asJSON))
	if err != nil {
		return err
	}
	if asJSON {
		return w.json(c, f)
	}
	zone := w.clock().Location()
	for i := range f.Rows {
		r := &f.Rows[i]
		c.Printf("%s\n", Plain(r.Head(zone)))
		for _, s := range r.Says {
			to := "<" + Clip(s.Recipient, 320) + ">"
			if s.Recipient == "" {
				to = "all"
			}
			c.Printf("  %s: %s\n", to, Clip(s.Text, 8000))
		}
		if n := r.Left(); n > 0 {
			c.Printf("  and %d more recipients\n", n)
		}
		if err := c.Err(); err != nil {
			return err
		}
	}
	w.summary(c, f, q, zone)
	return nil
}

// summary says how complete the answer is: never seen is said only of what
// could be looked at.
func (w where) summary(c *Call, f Found, q tracking.Query, zone *time.Location) {
	complete, names := true, []string{}
	for _, a := range f.Asked {
		if a.Error != "" {
			complete = false
			c.Printf("%s did not answer: %s\n", Plain(a.Name), Clip(a.Error, 500))
			continue
		}
		names = append(names, Clip(a.Name, 100))
		if !a.From.IsZero() && a.From.After(q.Since) && q.MID == 0 {
			c.Printf("The log of %s reaches back to %s only.\n", Plain(a.Name), a.From.In(zone).Format("2006-01-02 15:04:05 MST"))
		}
		for _, cut := range a.Cut {
			complete = false
			c.Printf("Not complete, %s: %s\n", Plain(a.Name), Clip(cut, 300))
		}
	}
	if len(f.Rows) > 0 {
		return
	}
	if len(names) == 0 {
		c.Printf("Nobody could say.\n")
		return
	}
	c.Printf("Never seen by %s", strings.Join(names, ", "))
	if q.MID == 0 && q.GatewayMID == 0 {
		c.Printf(" since %s", q.Since.In(zone).Format("2006-01-02 15:04:05 MST"))
	}
	if !complete {
		c.Printf(", as far as could be looked")
	}
	c.Printf(".\n")
}

// endJSON is the last line of where --json.
type endJSON struct {
	Found    int              `json:"found"`
	Complete bool             `json:"complete"`
	Since    time.Time        `json:"since"`
	Asked    []tracking.Asked `json:"asked"`
}

func (w where) json(c *Call, f Found) error {
	end := endJSON{Found: len(f.Rows), Complete: true, Asked: f.Asked}
	for i := range f.Rows {
		if err := jsonLine(c, f.Rows[i]); err != nil {
			return err
		}
	}
	for _, a := range f.Asked {
		end.Complete = end.Complete && a.Error == "" && len(a.Cut) == 0
	}
	return jsonLine(c, end)
}

// progress shows a person at a terminal how far long work is.
func (w where) progress(c *Call, asJSON bool) func(string) {
	last := time.Now()
	return func(text string) {
		if c.Batch || asJSON || time.Since(last) < 2*time.Second {
			return
		}
		last = time.Now()
		c.Printf("%s\n", Plain(text))
		c.out.flush()
	}
}

func (w where) parse(c *Call) (q tracking.Query, asJSON bool, err error) {
	q.Limit = tracking.DefaultLimit
	given, err := c.conditions(func(name, value string) error { return w.condition(&q, name, value) }, "--json")
	if err != nil {
		return q, false, err
	}
	if q.Since.IsZero() {
		q.Since = w.clock().Add(-tracking.DefaultSpan)
		if !q.Until.IsZero() {
			q.Since = q.Until.Add(-tracking.DefaultSpan)
		}
	}
	return q, given["--json"], badArguments(q.Check())
}

func (w where) condition(q *tracking.Query, name, value string) (err error) {
	if value == "" {
		return Usage("%s needs a value", Clip(name, 60))
	}
	switch name {
	case "sender", "from":
		q.Sender = value
	case "recipient", "to":
		q.Recipient = value
	case "subject":
		q.Subject = value
	case "message-id", "message_id":
		q.MessageID = value
	case "mid":
		q.MID, err = mail.ParseMID(value)
	case "esa_mid", "esa-mid":
		q.GatewayMID, err = mail.ParseMID(value)
	case "since":
		q.Since, err = Quarantines{Clock: w.clock}.date(value)
	case "until":
		q.Until, err = Quarantines{Clock: w.clock}.date(value)
	case "limit":
		if q.Limit, err = strconv.Atoi(value); err != nil {
			err = Usage("limit needs a number, not %q", Clip(value, 60))
		}
	default:
		err = Usage("there is no condition %q", Clip(name, 60))
	}
	return err
}

// Told is a gateway that a manager may ask.
type Told interface {
	Tell(ctx context.Context, q tracking.Query) (tracking.Answer, error)
}

// ToldCommand gives the hidden command by which a manager asks a gateway.
func ToldCommand(g Told) Command {
	return Command{Name: peer.WhereCommand, Summary: "Say what became of a message", Usage: peer.WhereCommand + " QUESTION", Right: auth.CommandClient, Hidden: true, MaxArgs: 1,
		Run: func(ctx context.Context, c *Call) error {
			q, err := tracking.DecodeQuery(c.Take())
			if err != nil {
				return err
			}
			a, err := g.Tell(ctx, q)
			if err != nil {
				return err
			}
			b, err := a.Encode()
			if err != nil {
				return err
			}
			_, err = c.Write(append(b, '\n'))
			return err
		}}
}
