// gorilla/websocket's hub as its chat example has it: two goroutines and a queue for each connection, one
// goroutine that hands every message to all queues.  A message is framed once (PreparedMessage).
package main

import (
	"fmt"
	"net"
	"net/http"

	"github.com/gorilla/websocket"
)

type client struct {
	conn *websocket.Conn
	send chan *websocket.PreparedMessage
}

type hub struct {
	clients    map[*client]bool
	broadcast  chan *websocket.PreparedMessage
	register   chan *client
	unregister chan *client
}

func (h *hub) run() {
	for {
		select {
		case c := <-h.register:
			h.clients[c] = true
		case c := <-h.unregister:
			if h.clients[c] {
				delete(h.clients, c)
				close(c.send)
			}
		case message := <-h.broadcast:
			for c := range h.clients {
				select {
				case c.send <- message:
				default:
					close(c.send)
					delete(h.clients, c)
				}
			}
		}
	}
}

func (c *client) writePump() {
	defer c.conn.Close()
	for message := range c.send {
		if c.conn.WritePreparedMessage(message) != nil {
			return
		}
	}
}

func main() {
	h := &hub{map[*client]bool{}, make(chan *websocket.PreparedMessage), make(chan *client), make(chan *client)}
	go h.run()
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	serve := func(path string, read func(*websocket.Conn, *client)) {
		http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			conn, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer conn.Close()
			read(conn, &client{conn, make(chan *websocket.PreparedMessage, 256)})
		})
	}
	serve("/echo", func(conn *websocket.Conn, _ *client) {
		for {
			kind, message, err := conn.ReadMessage()
			if err != nil || conn.WriteMessage(kind, message) != nil {
				return
			}
		}
	})
	serve("/publish", func(conn *websocket.Conn, _ *client) {
		for {
			kind, message, err := conn.ReadMessage()
			if err != nil {
				return
			}
			if prepared, err := websocket.NewPreparedMessage(kind, message); err == nil {
				h.broadcast <- prepared
			}
		}
	})
	serve("/subscribe", func(conn *websocket.Conn, c *client) {
		h.register <- c
		defer func() { h.unregister <- c }()
		go c.writePump()
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, nil))
}
