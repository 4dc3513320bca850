package admin

import (
	"context"
	"strings"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// parseMIDs reads message IDs, between blanks or commas.
func parseMIDs(words []string) ([]mail.MID, error) {
	var mids []mail.MID
	for _, w := range words {
		for _, s := range strings.Split(w, ",") {
			mid, err := mail.ParseMID(s)
			if err != nil {
				return nil, badArguments(err)
			}
			mids = append(mids, mid)
		}
	}
	if len(mids) > maxMIDs {
		return nil, Usage("more than %d messages", maxMIDs)
	}
	return mids, nil
}

// chosen is what a line selects: messages, and one quarantine or all.
type chosen struct {
	mids       []mail.MID
	quarantine string
	opt        options
}

// choose reads the messages that a line is about, and its options.
func (q Quarantines) choose(ctx context.Context, c *Call, known ...string) (ch chosen, err error) {
	for i, a := range c.Args {
		if a == "--all" {
			conditions := c.Args[i+1:]
			c.Args = c.Args[:i]
			if ch.opt, err = c.options(append(known, "--quarantine=")...); err != nil {
				return ch, err
			}
			if len(c.Args) > 0 {
				return ch, Usage("%q stands before --all: either numbers or all that is found", Clip(c.Args[0], 40))
			}
			return ch, q.found(ctx, c, conditions, &ch)
		}
	}
	if ch.opt, err = c.options(append(known, "--quarantine=")...); err != nil {
		return ch, err
	}
	ch.quarantine = ch.opt.last("--quarantine")
	if ch.mids, err = parseMIDs(c.Args); err == nil && len(ch.mids) == 0 {
		err = Usage("a message ID is needed, or --all")
	}
	return ch, err
}

// found chooses what a search finds of that which is held.
func (q Quarantines) found(ctx context.Context, c *Call, words []string, ch *chosen) error {
	c.Args = words
	query, _, err := q.parseQuery(c, "--json")
	if err != nil {
		return err
	}
	if query.By != quarantine.ByArrival && query.Limit == 0 {
		query.By = quarantine.ByArrival // of all, the order does not matter
	}
	if name := ch.opt.last("--quarantine"); query.Quarantine == "" {
		query.Quarantine = name
	}
	if len(query.States) == 0 {
		query.States = []quarantine.State{quarantine.Held}
	}
	ch.quarantine = query.Quarantine
	for m, err := range q.Service.Search(ctx, c.Principal, query) {
		if err != nil {
			return err
		}
		ch.mids = append(ch.mids, m.MID)
	}
	return nil
}

func (q Quarantines) release(ctx context.Context, c *Call) error {
	ch, err := q.choose(ctx, c)
	if err != nil {
		return err
	}
	out, err := q.Service.Release(ctx, c.Principal, ch.mids, ch.quarantine)
	return outcome(c, "released", len(ch.mids), out, err)
}

// delete asks once in a shell. A line that is executed has its messages named
// in it and means them.
func (q Quarantines) delete(ctx context.Context, c *Call) error {
	if !c.Batch && len(c.Args) > 0 {
		args := c.Args
		c.Args = nil
		sure, err := c.Confirm("Are you sure you want to delete "+Clip(strings.Join(args, " "), 60)+"?", false)
		if err != nil || !sure {
			return err
		}
		c.Args = args
	}
	ch, err := q.choose(ctx, c)
	if err != nil {
		return err
	}
	out, err := q.Service.Delete(ctx, c.Principal, ch.mids, ch.quarantine)
	return outcome(c, "deleted", len(ch.mids), out, err)
}

func (q Quarantines) undo(ctx context.Context, c *Call) error {
	opt, err := c.options("--decision=")
	if err != nil {
		return err
	}
	if n := opt.last("--decision"); n != "" {
		id, err := mail.ParseMID(n) // the same kind of number
		if err != nil || len(c.Args) > 0 {
			return Usage("undo --decision needs the number of a decision and nothing else")
		}
		out, err := q.Service.UndoDecision(ctx, c.Principal, quarantine.DecisionID(id))
		return outcome(c, "taken back", out.Count+len(out.Missed), out, err)
	}
	mids, err := parseMIDs(c.Args)
	if err == nil && len(mids) == 0 {
		err = Usage("a message ID is needed, or --decision N")
	}
	if err != nil {
		return err
	}
	out, err := q.Service.Undo(ctx, c.Principal, mids)
	return outcome(c, "taken back", len(mids), out, err)
}

func (q Quarantines) delay(ctx context.Context, c *Call) error {
	ch, err := q.choose(ctx, c, "--by=")
	if err != nil {
		return err
	}
	by, err := config.ParseSpan(ch.opt.last("--by"))
	if err != nil || by == 0 {
		return Usage("delay needs --by and a time such as 8h, 24h, 48h or 1w")
	}
	out, err := q.Service.Delay(ctx, c.Principal, ch.mids, ch.quarantine, by)
	return outcome(c, "delayed", len(ch.mids), out, err)
}

func (q Quarantines) move(ctx context.Context, c *Call) error {
	ch, err := q.choose(ctx, c, "--from=", "--to=")
	if err != nil {
		return err
	}
	from, to := ch.opt.last("--from"), ch.opt.last("--to")
	if from == "" || to == "" {
		return Usage("move needs --from NAME and --to NAME")
	}
	out, err := q.Service.Move(ctx, c.Principal, ch.mids, from, to)
	return outcome(c, "moved", len(ch.mids), out, badArguments(err))
}

// copies sends copies of messages.
func (q Quarantines) copies(ctx context.Context, c *Call) error {
	ch, err := q.choose(ctx, c, "--to=")
	if err != nil {
		return err
	}
	var to []mail.Address
	for _, text := range ch.opt["--to"] {
		a, err := mail.ParseAddress(text)
		if err != nil {
			return badArguments(err)
		}
		to = append(to, a)
	}
	if len(to) == 0 {
		return Usage("copy needs --to ADDRESS")
	}
	out, err := q.Service.Copy(ctx, c.Principal, ch.mids, to)
	return outcome(c, "copied", len(ch.mids), out, badArguments(err))
}

// report sends copies to whoever makes the outbreak rules.
func (q Quarantines) report(ctx context.Context, c *Call) error {
	ch, err := q.choose(ctx, c, "--as=")
	if err != nil {
		return err
	}
	as := ch.opt.last("--as")
	if as == "" {
		return Usage("report needs --as false-positive or --as suspicious")
	}
	out, err := q.Service.Report(ctx, c.Principal, ch.mids, quarantine.Opinion(as))
	return outcome(c, "reported", len(ch.mids), out, badArguments(err))
}

func (q Quarantines) hold(ctx context.Context, c *Call) error {
	opt, err := c.options("--why=", "--lift")
	if err != nil {
		return err
	}
	mids, err := parseMIDs(c.Args)
	switch {
	case err != nil:
		return err
	case len(mids) == 0:
		return Usage("a message ID is needed")
	case opt.has("--lift") == (opt.last("--why") != ""):
		return Usage("hold needs --why TEXT, or --lift")
	}
	if opt.has("--lift") {
		out, err := q.Service.LiftHold(ctx, c.Principal, mids)
		return outcome(c, "free to leave", len(mids), out, err)
	}
	out, err := q.Service.SetHold(ctx, c.Principal, mids, opt.last("--why"))
	return outcome(c, "put on hold", len(mids), out, badArguments(err))
}

// shown is how many of those that were not changed are named with the reason.
const shown = 100

// outcome prints what an action did, and fails when it did not do all.
func outcome(c *Call, done string, asked int, out quarantine.Outcome, err error) error {
	for i, m := range out.Missed {
		if i == shown {
			c.Printf("... and %s more\n", comma(len(out.Missed)-shown))
			break
		}
		c.Printf("MID %s: %s\n", m.MID, Plain(m.Why))
	}
	plural := "s"
	if out.Count == 1 {
		plural = ""
	}
	if err == nil || out.Count > 0 {
		c.Printf("%s message%s %s.\n", comma(out.Count), plural, done)
	}
	if out.Decision != 0 {
		c.Printf("To take it back, until %s: quarantine undo --decision %s\n", out.Until.UTC().Format(time.RFC3339), out.Decision)
	}
	if err == nil && len(out.Missed) > 0 {
		err = errs.New(errs.Conflict, "%d of %d messages were not %s", len(out.Missed), asked, done)
	}
	return err
}
