package manager

import (
	"context"
	"slices"
	"strings"
	"sync"

	"lazaret/internal/admin"
	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/tracking"
)

// tracker answers where messages are: from the quarantines, as far as who asks
// may see them, and from all gateways, which are asked at the same time.
type tracker struct{ m *Manager }

// Where implements admin.Tracker.
func (t tracker) Where(ctx context.Context, p mail.Principal, q tracking.Query, note func(string)) (admin.Found, error) {
	held, cut, err := t.held(ctx, p, q)
	if err != nil {
		return admin.Found{}, err
	}
	c := t.m.Config.Committed()
	ours := tracking.Asked{Name: c.Hostname, Serial: c.Serial, Cut: cut}
	gateways := c.Appliances
	if q.MID != 0 { // ours: one gateway has it, under its own number
		gateways = nil
		if len(held) == 1 {
			gateways = slices.DeleteFunc(slices.Clone(c.Appliances), func(a config.Appliance) bool { return a.Serial != held[0].Serial })
			q.MID = held[0].GatewayMID
		}
	} else if q.GatewayMID != 0 {
		q.MID, q.GatewayMID = q.GatewayMID, 0
	}
	if len(gateways) > 0 {
		note("Asking the gateways")
	}
	answers, asked := t.ask(ctx, gateways, q)
	if err := ctx.Err(); err != nil {
		return admin.Found{}, err
	}
	see, err := t.seen(ctx, p)
	if err != nil {
		return admin.Found{}, err
	}
	for i := range answers {
		answers[i].Hide(see)
	}
	return admin.Found{Rows: tracking.Rows(answers, held, t.m.Now().Location()), Asked: append([]tracking.Asked{ours}, asked...)}, nil
}

// seen gives which quarantines somebody may see: a gateway names them all.
func (t tracker) seen(ctx context.Context, p mail.Principal) (func(string) bool, error) {
	if auth.Can(p.Role, auth.QuarantineAll) {
		return func(string) bool { return true }, nil // also those that are deleted by now
	}
	all, err := t.m.quarantine.Quarantines(ctx, p)
	if err != nil && !errs.Is(err, errs.Denied) {
		return nil, err
	}
	return func(name string) bool {
		return slices.ContainsFunc(all, func(l quarantine.Listed) bool { return l.Name == name })
	}, nil
}

// ask asks gateways, and gives what they said, and of each whether it did.
func (t tracker) ask(ctx context.Context, gateways []config.Appliance, q tracking.Query) ([]tracking.Answer, []tracking.Asked) {
	answers, asked := make([]tracking.Answer, len(gateways)), make([]tracking.Asked, len(gateways))
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, a := range gateways {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			asked[i] = tracking.Asked{Name: a.Name, Serial: a.Serial}
			answer, err := t.m.client.Where(ctx, toPeer(a), q)
			if err != nil {
				asked[i].Error = errs.Public(err)
				return
			}
			answer.Name = a.Name // as we know it
			asked[i].From, asked[i].Cut = answer.From, answer.Cut
			answers[i] = answer
		})
	}
	wg.Wait()
	return answers, asked
}

// everyState is held and all that comes after it.
var everyState = [...]quarantine.State{quarantine.Held, quarantine.Leaving, quarantine.Releasing, quarantine.Gone, quarantine.Binned, quarantine.Removed, quarantine.Failed, quarantine.Sent}

// held finds messages of the quarantines. Who may see none hears of none.
func (t tracker) held(ctx context.Context, p mail.Principal, q tracking.Query) (found []tracking.Held, cut []string, err error) {
	query := quarantine.Query{Sender: quarantine.Text{Text: q.Sender}, Recipient: quarantine.Text{Text: q.Recipient}, Subject: quarantine.Text{Text: q.Subject},
		MessageID: q.MessageID, MID: q.MID, GatewayMID: q.GatewayMID, States: everyState[:], Limit: q.Limit + 1}
	if q.MID == 0 && q.GatewayMID == 0 {
		query.Since, query.Until = q.Since, q.Until
	}
	for m, err := range t.m.quarantine.Search(ctx, p, query) {
		if errs.Is(err, errs.Denied) {
			return nil, []string{"the quarantines are not yours to look into"}, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if len(found) == q.Limit {
			cut = []string{"there are more messages in the quarantines: these are the newest"}
			break
		}
		found = append(found, heldView(m, q.Recipient))
	}
	return found, cut, nil
}

// heldView is a message of the quarantines as tracking tells of it.
func heldView(m *quarantine.Message, recipient string) tracking.Held {
	h := tracking.Held{MID: m.MID, GatewayMID: m.GatewayMID, Gateway: m.Gateway, Serial: m.Serial, Sender: m.Sender, Recipients: []string{}, Subject: m.Subject,
		MessageID: m.MessageID, Accepted: m.Accepted, Received: m.Received, State: m.State, Until: m.Until, Hold: m.Hold != nil, Places: []tracking.Place{}, Release: []tracking.Released{}}
	for _, to := range m.Recipients {
		if strings.Contains(strings.ToLower(to), strings.ToLower(recipient)) {
			h.Recipients = append(h.Recipients, to)
		}
	}
	for _, l := range m.Quarantines {
		h.Places = append(h.Places, tracking.Place{Name: l.Name, Reason: l.Reason, State: l.State, Cause: l.Cause, By: l.By, Exit: l.Exit, Left: l.Left})
	}
	for _, d := range m.Release {
		r := tracking.Released{Recipient: d.Recipient, State: d.State, MID: d.NewMID, Taken: d.Taken, Tried: d.Tried, Next: d.Next, Host: d.Host, Text: d.Answer, Rescanned: d.Rescan}
		if r.Text == "" {
			r.Text = d.Reply
		}
		h.Release = append(h.Release, r)
	}
	return h
}
