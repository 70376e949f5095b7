"""A foreign P4Runtime client, finsy, beside the lab's own controller and in its place.

The lab is `topologies/two-hosts.yaml`; `WEFT` names the binary. Run by `tests/run`.
"""

import asyncio
import contextlib
import itertools
import logging
import unittest

import finsy as fy

from lab import DATAGRAM_BYTES, Lab, wait_for

LAB = Lab("finsy")
# The controller of a lab counts from 1, and goes on from the highest id that the switch has seen.
HIGHER_IDS = itertools.count(1 << 64, 1 << 64)
UDP = {"eth_type": (0x800, 0xFFFF), "ip_proto": (17, 0xFF)}
DATAGRAMS = fy.Match(**UDP, ipv4_dst=(0x0A000002, 0xFFFFFFFF), udp_dst=(7001, 0xFFFF))
ANSWERS = fy.Match(**UDP, udp_src=(7001, 0xFFFF))
ECHO = fy.Match(eth_type=0x800, ip_proto=1, icmpv4_type=8)

# The client asks for gNMI, which is not there, and asyncio says that `weft` is waited for.
logging.disable(logging.WARNING)


def setUpModule():
    LAB.up()
    unittest.addModuleCleanup(LAB.down)


def client(election_id):
    """The lab's switch, seen by a client that bids `election_id`."""
    switch = LAB.status()["switches"][0]
    options = fy.SwitchOptions(device_id=switch["deviceId"], initial_election_id=election_id)
    return fy.Switch("s1", switch["p4runtime"], options)


@contextlib.asynccontextmanager
async def primary():
    """A primary that takes its flows with it: what others wrote, the controller only reports."""
    async with client(next(HIGHER_IDS)) as switch:
        assert switch.is_primary
        try:
            yield switch
        finally:
            await switch.delete(await read(switch, fy.P4TableEntry("flows")))


def settled():
    """The lab's controller is primary, and the switch holds exactly what it must hold."""
    if "ForeignPrimary" in LAB.conditions() or not LAB.status()["switches"][0]["connected"]:
        return False
    diff = LAB.get("/v1/switches/s1/diff")
    return not (diff["missing"] or diff["modified"] or diff["extra"])


def flow(match, action, priority=1000):
    return fy.P4TableEntry("flows", match=match, action=action, priority=priority)


async def read(switch, entity):
    return [found async for found in switch.read(entity)]


async def packets_of(switch, count):
    """The next `count` packets that the switch sends."""
    found = []
    async for packet in switch.read_packets():
        found.append(packet)
        if len(found) == count:
            return found


class Primary(unittest.IsolatedAsyncioTestCase):
    def tearDown(self):
        wait_for("the controller is back and has repaired", settled)
        self.assertEqual(LAB.answered(3), 3)
        self.assertTrue(LAB.pings())

    async def test_the_controller_yields_comes_back_and_repairs(self):
        self.assertEqual(LAB.answered(3), 3)
        before = LAB.get("/v1/switches/s1")
        async with primary() as switch:
            wait_for("the controller says who is primary", lambda: "ForeignPrimary" in LAB.conditions())
            # What the fabric programmed is deleted: hosts fall silent, and nobody mends it.
            entries = [e for e in await read(switch, fy.P4TableEntry()) if e.metadata and not e.is_const]
            self.assertTrue(entries)
            await switch.delete(entries)
            self.assertEqual(LAB.answered(2, timeout=0.1), 0)
            self.assertFalse(LAB.pings())
            self.assertFalse([e for e in await read(switch, fy.P4TableEntry()) if e.metadata and not e.is_const])
            self.assertIn("ForeignPrimary", LAB.conditions())
            diff = LAB.get("/v1/switches/s1/diff")
            self.assertTrue(diff["missing"])
            self.assertFalse(diff["extra"])
        wait_for("the condition is gone", lambda: "ForeignPrimary" not in LAB.conditions())
        after = LAB.get("/v1/switches/s1")
        self.assertEqual(after["bootId"], before["bootId"], "the switch never restarted")
        wait_for("all is repaired", settled)
        self.assertEqual(LAB.answered(3), 3)

    async def test_entries_decide_about_packets_and_count_them(self):
        async with primary() as switch:
            await switch.insert([flow(DATAGRAMS, fy.Action("flow_drop"))])
            self.assertEqual(LAB.answered(3, timeout=0.1), 0)
            self.assertTrue(LAB.pings(), "others pass")
            asked = flow(DATAGRAMS, None)
            asked.counter_data = fy.P4CounterData()
            held = await read(switch, asked)
            self.assertEqual([one.action for one in held], [fy.Action("flow_drop")])
            self.assertEqual(held[0].match, DATAGRAMS)
            self.assertEqual(held[0].counter_data, fy.P4CounterData(byte_count=3 * DATAGRAM_BYTES, packet_count=3))
            counters = await read(switch, fy.P4DirectCounterEntry(table_entry=flow(DATAGRAMS, None)))
            self.assertEqual([one.packet_count for one in counters], [3])

            await switch.modify([flow(DATAGRAMS, fy.Action("flow_normal"))])
            self.assertEqual(LAB.answered(2), 2)
            held = await read(switch, asked)
            self.assertEqual(held[0].counter_data.packet_count, 5, "a modification keeps the counter")

            await switch.insert([flow(ECHO, fy.Action("flow_drop"))])
            self.assertFalse(LAB.pings())
            await switch.delete([flow(ECHO, None)])
            self.assertTrue(LAB.pings())
            await switch.delete([flow(DATAGRAMS, None)])
            self.assertEqual(LAB.answered(1), 1)
            self.assertEqual(await read(switch, fy.P4TableEntry("flows")), [])
            with self.assertRaises(fy.P4ClientError) as refused:
                await switch.delete([flow(DATAGRAMS, None)])
            self.assertTrue(refused.exception.is_not_found_only)

    async def test_packets_come_in_and_go_out(self):
        async with primary() as switch:
            await switch.insert([flow(DATAGRAMS, fy.Action("flow_controller"))])
            taken = asyncio.create_task(packets_of(switch, 1))
            self.assertEqual(await asyncio.to_thread(LAB.answered, 1, 0.2), 0)
            (packet,) = await asyncio.wait_for(taken, 5)
            self.assertTrue(packet.payload.endswith(b"hello"))
            self.assertEqual(dict(packet.metadata), {"ingress_port": 1})

            # The frame is sent on by hand; bob's answer comes here, too.
            await switch.insert([flow(ANSWERS, fy.Action("flow_controller"))])
            taken = asyncio.create_task(packets_of(switch, 1))
            await asyncio.sleep(0)  # The queue opens before the frame leaves.
            await switch.write([fy.P4PacketOut(packet.payload, egress_port=2)])
            (answer,) = await asyncio.wait_for(taken, 5)
            self.assertTrue(answer.payload.endswith(b"hi"))
            self.assertEqual(dict(answer.metadata), {"ingress_port": 2})

    async def test_a_group_sends_to_its_ports(self):
        async with primary() as switch:
            group = fy.P4MulticastGroupEntry(4242, replicas=[2])
            await switch.insert([group])
            held = await read(switch, fy.P4MulticastGroupEntry(4242))
            self.assertEqual([one.replicas for one in held], [(2,)])
            await switch.insert([flow(DATAGRAMS, fy.Action("flow_multicast", group=4242))])
            self.assertEqual(LAB.answered(3), 3)
            await switch.modify([fy.P4MulticastGroupEntry(4242, replicas=[])])
            self.assertEqual(LAB.answered(1, timeout=0.1), 0)
            await switch.delete([flow(DATAGRAMS, None)])
            await switch.delete([group])

    async def test_what_a_client_leaves_is_reported_and_stays(self):
        async with client(next(HIGHER_IDS)) as switch:
            await switch.insert([flow(DATAGRAMS, fy.Action("flow_drop"))])
        wait_for("the controller is back", settled)
        self.assertIn("ForeignEntries", LAB.conditions())
        self.assertEqual(LAB.answered(1, timeout=0.1), 0)
        async with primary():
            pass
        wait_for("nothing is left", lambda: "ForeignEntries" not in LAB.conditions())


class Backup(unittest.IsolatedAsyncioTestCase):
    async def test_a_backup_reads_and_does_not_disturb(self):
        # A primary that came and went: from now on the controller's id is above it.
        highest = next(HIGHER_IDS)
        async with client(highest):
            pass
        wait_for("the controller is back", settled)
        before = LAB.get("/v1/switches/s1")
        async with client(10) as switch:
            self.assertFalse(switch.is_primary)
            self.assertEqual(switch.primary_id, highest + 1, "the next id")
            self.assertEqual(switch.p4info.name, "fabric")
            entries = await read(switch, fy.P4TableEntry())
            self.assertTrue([one for one in entries if one.metadata], "the fabric's entries are read")
            self.assertEqual(await read(switch, fy.P4TableEntry("flows")), [])
            defaults = await read(switch, fy.P4TableEntry("flows", is_default_action=True))
            self.assertEqual([one.action for one in defaults], [fy.Action("flow_normal")])
            with self.assertRaises(fy.P4ClientError) as refused:
                await switch.insert([flow(DATAGRAMS, fy.Action("flow_drop"))])
            self.assertEqual(refused.exception.code, fy.GRPCStatusCode.PERMISSION_DENIED)
            self.assertNotIn("ForeignPrimary", LAB.conditions())
            self.assertEqual(LAB.answered(3), 3)
        self.assertEqual(LAB.get("/v1/switches/s1"), before)


if __name__ == "__main__":
    unittest.main()
