package gateway

import (
	"lazaret/internal/admin"
	"lazaret/internal/mail"
)

// openLanguage makes the commands of a gateway.
func (g *Gateway) openLanguage(Options) (err error) {
	last := func() mail.MID { mid, _, _ := g.spool.Numbers(); return mid }
	commands := append(g.CommonCommands(g.queue, last, nil), admin.MachineCommands(g)...)
	g.language, err = g.Language("Gateway", commands)
	return err
}
