"""A Secret Service that owns its name on the bus and never answers anything (run as a program)."""

import sys
import time

from jeepney import DBusAddress, new_method_call
from jeepney.io.blocking import open_dbus_connection

NAME = "org.freedesktop.secrets"

connection = open_dbus_connection(bus="SESSION")
bus = DBusAddress("/org/freedesktop/DBus", bus_name="org.freedesktop.DBus", interface="org.freedesktop.DBus")
connection.send_and_get_reply(new_method_call(bus, "RequestName", "su", (NAME, 4)))
sys.stdout.write("owned\n")
sys.stdout.flush()
while True:
    time.sleep(60)
