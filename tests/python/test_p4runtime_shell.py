"""A foreign P4Runtime client, p4runtime-shell, takes a switch of a running lab over and programs it.

The lab is `topologies/two-hosts.yaml`; `WEFT` names the binary. Run by `tests/run`.
"""

import unittest

import grpc
import p4runtime_sh.shell as sh
from google.rpc import code_pb2, status_pb2
from p4.v1 import p4runtime_pb2, p4runtime_pb2_grpc
from p4runtime_sh.context import P4Type
from p4runtime_sh.p4runtime import P4RuntimeClient, P4RuntimeWriteException

from lab import DATAGRAM_BYTES, Lab, wait_for

LAB = Lab("p4runtime-shell")

# The controller of a lab bids with high = 0.
ELECTION_ID = (1, 0)
LOWER_ELECTION_ID = (0, 1 << 40)


def update_codes(error):
    """The code of each update of a refused batch, by name."""
    trailer = dict(error.trailing_metadata())
    answer = status_pb2.Status()
    answer.ParseFromString(trailer["grpc-status-details-bin"])
    codes = []
    for detail in answer.details:
        one = p4runtime_pb2.Error()
        assert detail.Unpack(one), "each detail is a p4.v1.Error"
        codes.append(code_pb2.Code.Name(one.canonical_code))
    return codes


def setUpModule():
    LAB.up()
    unittest.addModuleCleanup(LAB.down)
    switch = LAB.status()["switches"][0]
    sh.setup(
        device_id=switch["deviceId"],
        grpc_addr=switch["p4runtime"],
        election_id=ELECTION_ID,
        verbose=False,
    )


def load_tests(loader, _tests, _pattern):
    """In the order of this file: the last class gives the switch back."""
    classes = [Pipeline, Entries, Selectors, Groups, Sessions, PacketIo, HandBack]
    return unittest.TestSuite(loader.loadTestsFromTestCase(one) for one in classes)


def flow(action, priority=1000, **params):
    """An entry for the datagrams from alice to bob."""
    entry = sh.TableEntry("flows")(action=action)
    entry.priority = priority
    entry.match["eth_type"] = "0x800"
    entry.match["ip_proto"] = "17"
    entry.match["ipv4_dst"] = "10.0.0.2"
    entry.match["udp_dst"] = "7001"
    for name, value in params.items():
        entry.action[name] = value
    return entry


def read(entry):
    """What the switch holds under the entry's key, with counters."""
    request = sh.TableEntry("flows")
    request.match._mk.update(entry.match._mk)
    request.priority = entry.priority
    request.counter_data  # Asks for the counter too.
    return list(request.read())


def members(entry):
    """The one-shot set of an entry; the client pads its byte strings, the switch does not."""
    actions = entry.msg().action.action_profile_action_set.action_profile_actions
    return [
        (
            one.action.action_id,
            [(param.param_id, int.from_bytes(param.value, "big")) for param in one.action.params],
            one.weight,
            one.watch_port,
        )
        for one in actions
    ]


class Pipeline(unittest.TestCase):
    def test_the_pipeline_is_read_from_the_switch(self):
        info = sh.context.p4info
        self.assertEqual(info.pkg_info.name, "fabric")
        tables = {table.preamble.name: table for table in info.tables}
        fields = {field.name: field.bitwidth for field in tables["flows"].match_fields}
        self.assertEqual(fields["ipv4_dst"], 32)
        self.assertEqual(fields["eth_src"], 48)
        self.assertGreater(tables["flows"].size, 0)
        names = {info.preamble.name for info in info.controller_packet_metadata}
        self.assertEqual(names, {"packet_in", "packet_out"})

    def test_ids_carry_the_prefixes_of_the_specification(self):
        prefixes = {"tables": 0x02, "actions": 0x01, "action_profiles": 0x11, "direct_counters": 0x13}
        for kind, prefix in prefixes.items():
            objects = getattr(sh.context.p4info, kind)
            self.assertTrue(objects, kind)
            for one in objects:
                self.assertEqual(one.preamble.id >> 24, prefix, one.preamble.name)

    def test_the_server_says_its_version(self):
        answer = sh.client.stub.Capabilities(p4runtime_pb2.CapabilitiesRequest())
        self.assertEqual(answer.p4runtime_api_version, "1.5.0")

    def test_what_the_fabric_programmed_can_be_read(self):
        entries = sum(1 for name in sh.context.p4info_objs_by_type[P4Type.table]
                      for _ in sh.TableEntry(name).read())
        self.assertGreater(entries, 0)


class Entries(unittest.TestCase):
    def tearDown(self):
        for entry in sh.TableEntry("flows").read():
            entry.clear_counter_data()
            entry.delete()
        self.assertEqual(LAB.answered(1), 1)

    def test_an_entry_is_written_read_modified_and_deleted(self):
        self.assertEqual(LAB.answered(3), 3)
        entry = flow("flow_drop")
        entry.metadata = b"\x01owner"
        entry.insert()

        held = read(entry)
        self.assertEqual(len(held), 1)
        self.assertEqual(held[0].msg().action, entry.msg().action)
        self.assertEqual(list(held[0].msg().match), list(entry.msg().match))
        self.assertEqual(held[0].metadata, b"\x01owner")
        self.assertEqual(held[0].counter_data.packet_count, 0)

        self.assertEqual(LAB.answered(3, timeout=0.1), 0)
        counter = read(entry)[0].counter_data
        self.assertEqual(counter.packet_count, 3)
        self.assertEqual(counter.byte_count, 3 * DATAGRAM_BYTES)

        changed = flow("flow_normal")
        changed.modify()
        self.assertEqual(LAB.answered(2), 2)
        held = read(entry)
        self.assertEqual(held[0].action.action_name, "flow_normal")
        self.assertEqual(held[0].metadata, b"")
        self.assertEqual(held[0].counter_data.packet_count, 5, "a modification keeps the counter")

        entry.delete()
        self.assertEqual(read(entry), [])
        self.assertEqual(LAB.answered(1), 1)

    def test_the_higher_priority_wins(self):
        flow("flow_drop", priority=10).insert()
        flow("flow_normal", priority=11).insert()
        self.assertEqual(LAB.answered(1), 1)
        flow("flow_normal", priority=11).delete()
        self.assertEqual(LAB.answered(1, timeout=0.1), 0)

    def test_a_counter_can_be_set(self):
        entry = flow("flow_normal")
        entry.insert()
        entry.counter_data.packet_count = 40
        entry.counter_data.byte_count = 4000
        entry.modify()
        self.assertEqual(LAB.answered(2), 2)
        self.assertEqual(read(entry)[0].counter_data.packet_count, 42)

    def test_actions_have_arguments(self):
        entry = flow("flow_output", port="2")
        entry.insert()
        params = read(entry)[0].msg().action.action.params
        self.assertEqual([param.value for param in params], [b"\x02"], "the shortest form is returned")
        self.assertEqual(LAB.answered(1), 1)

    def test_errors_have_the_codes_of_the_specification(self):
        entry = flow("flow_drop")
        with self.assertRaisesRegex(P4RuntimeWriteException, "NOT_FOUND"):
            entry.modify()
        with self.assertRaisesRegex(P4RuntimeWriteException, "NOT_FOUND"):
            entry.delete()
        entry.insert()
        with self.assertRaisesRegex(P4RuntimeWriteException, "ALREADY_EXISTS"):
            entry.insert()
        entry.priority = 0
        with self.assertRaisesRegex(P4RuntimeWriteException, "INVALID_ARGUMENT"):
            entry.insert()

    def batch(self, atomicity, *entries):
        request = p4runtime_pb2.WriteRequest(device_id=sh.client.device_id, atomicity=atomicity)
        request.election_id.high, request.election_id.low = ELECTION_ID
        for entry in entries:
            update = request.updates.add(type=p4runtime_pb2.Update.INSERT)
            update.entity.table_entry.CopyFrom(entry.msg())
        return sh.client.stub.Write(request)

    def test_a_batch_has_one_answer_for_each_update(self):
        with self.assertRaises(grpc.RpcError) as refused:
            self.batch(
                p4runtime_pb2.WriteRequest.CONTINUE_ON_ERROR,
                flow("flow_drop", priority=1),
                flow("flow_drop", priority=1),
                flow("flow_drop", priority=2),
            )
        self.assertEqual(refused.exception.code(), grpc.StatusCode.UNKNOWN)
        self.assertEqual(update_codes(refused.exception), ["OK", "ALREADY_EXISTS", "OK"])
        self.assertEqual(len(list(sh.TableEntry("flows").read())), 2)

    def test_an_atomic_batch_is_all_or_nothing(self):
        for atomicity in ("ROLLBACK_ON_ERROR", "DATAPLANE_ATOMIC"):
            with self.subTest(atomicity), self.assertRaises(grpc.RpcError) as refused:
                self.batch(
                    p4runtime_pb2.WriteRequest.Atomicity.Value(atomicity),
                    flow("flow_drop", priority=1),
                    flow("flow_drop", priority=1),
                )
            self.assertIn("ALREADY_EXISTS", update_codes(refused.exception))
            self.assertEqual(list(sh.TableEntry("flows").read()), [])


class Selectors(unittest.TestCase):
    def test_a_one_shot_set_reads_back_as_it_was_written(self):
        with_selector = {p.preamble.id for p in sh.context.p4info.action_profiles if p.with_selector}
        table = next(t for t in sh.context.p4info.tables if t.implementation_id in with_selector)
        name = table.preamble.name
        action = sh.Action(sh.context.get_name_from_id(table.action_refs[0].id))
        for param in sh.context.get_obj_by_id(table.action_refs[0].id).params:
            action[param.name] = "1"
        entry = sh.TableEntry(name)
        for field in table.match_fields:
            entry.match[field.name] = str(ord("M"))
        entry.oneshot = sh.Oneshot(name)
        entry.oneshot.add(action, weight=1).add(action, weight=3, watch_port=b"\x01")
        entry.insert()
        try:
            held = next(e for e in sh.TableEntry(name).read() if e.msg().match[0].exact.value == b"M")
            self.assertEqual(members(held), members(entry))
        finally:
            entry.delete()


class Groups(unittest.TestCase):
    def test_a_multicast_group_reads_back_its_ports(self):
        group = sh.MulticastGroupEntry(4242)
        group.add(2).add(1, 7)
        group.insert()
        self.addCleanup(group.delete)
        # The shell itself shows the deprecated number of a port only.
        request = p4runtime_pb2.ReadRequest(device_id=sh.client.device_id)
        asked = request.entities.add().packet_replication_engine_entry.multicast_group_entry
        asked.multicast_group_id = 4242
        entities = [entity for answer in sh.client.stub.Read(request) for entity in answer.entities]
        held = [one.packet_replication_engine_entry.multicast_group_entry for one in entities]
        self.assertEqual([one.multicast_group_id for one in held], [4242])
        ports = [(one.egress_port or int.from_bytes(one.port, "big"), one.instance) for one in held[0].replicas]
        self.assertEqual(sorted(ports), [(1, 7), (2, 0)])

    def test_direct_counters_are_read_by_themselves(self):
        entry = flow("flow_normal")
        entry.insert()
        self.addCleanup(entry.delete)
        self.assertEqual(LAB.answered(4), 4)
        counters = sh.DirectCounterEntry("flows_counter")
        counters.table_entry = flow("flow_normal")
        counters.table_entry.action = None
        held = list(counters.read())
        self.assertEqual([one.packet_count for one in held], [4])
        self.assertEqual([one.byte_count for one in held], [4 * DATAGRAM_BYTES])


class Sessions(unittest.TestCase):
    def test_a_backup_may_read_and_not_write(self):
        backup = P4RuntimeClient(sh.client.device_id, LAB.status()["switches"][0]["p4runtime"], LOWER_ELECTION_ID)
        try:
            self.assertEqual(backup.get_p4info(), sh.context.p4info)
            update = p4runtime_pb2.Update(type=p4runtime_pb2.Update.INSERT)
            update.entity.table_entry.CopyFrom(flow("flow_drop").msg())
            with self.assertRaises(grpc.RpcError) as refused:
                backup.write_update(update)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
        finally:
            backup.tear_down()

    def test_the_pipeline_of_an_unknown_device_is_not_found(self):
        request = p4runtime_pb2.GetForwardingPipelineConfigRequest(device_id=987654)
        with self.assertRaises(grpc.RpcError) as refused:
            sh.client.stub.GetForwardingPipelineConfig(request)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.NOT_FOUND)


class PacketIo(unittest.TestCase):
    def test_packets_reach_the_primary_with_their_port(self):
        entry = flow("flow_controller")
        entry.insert()
        self.addCleanup(entry.delete)
        self.assertEqual(LAB.answered(1, timeout=0.1), 0)
        message = sh.client.get_stream_packet("packet", timeout=5)
        self.assertIsNotNone(message, "a packet-in arrives")
        self.assertTrue(message.packet.payload.endswith(b"hello"))
        self.assertEqual([one.value for one in message.packet.metadata], [b"\x01"])

    def test_a_packet_out_leaves_by_its_port(self):
        entry = flow("flow_controller")
        entry.insert()
        self.assertEqual(LAB.answered(1, timeout=0.1), 0)
        frame = sh.client.get_stream_packet("packet", timeout=5).packet.payload
        entry.delete()
        # The frame that was taken is sent on by hand; bob's answer is counted on its way back.
        answers = sh.TableEntry("flows")(action="flow_normal")
        answers.priority = 1
        answers.match["eth_type"] = "0x800"
        answers.match["ip_proto"] = "17"
        answers.match["udp_src"] = "7001"
        answers.insert()
        self.addCleanup(answers.delete)
        sh.PacketOut(frame, egress_port="2").send()

        def seen():
            request = sh.TableEntry("flows")
            request.match._mk.update(answers.match._mk)
            request.counter_data
            return next(request.read()).counter_data.packet_count == 1

        wait_for("bob answers the frame", seen)


class HandBack(unittest.TestCase):
    def test_the_controller_takes_over_and_repairs_when_the_client_goes(self):
        tables = [name for name in sh.context.p4info_objs_by_type[P4Type.table] if name != "flows"]
        victim = next(entry for name in tables for entry in sh.TableEntry(name).read() if entry.metadata)
        lost = victim.msg()
        victim.delete()
        switch = LAB.status()["switches"][0]
        sh.teardown()

        stub = p4runtime_pb2_grpc.P4RuntimeStub(grpc.insecure_channel(switch["p4runtime"]))
        request = p4runtime_pb2.ReadRequest(device_id=switch["deviceId"])
        request.entities.add().table_entry.table_id = lost.table_id

        def repaired():
            entities = [entity for answer in stub.Read(request) for entity in answer.entities]
            return any(
                (one.table_entry.match, one.table_entry.priority) == (lost.match, lost.priority)
                for one in entities
            )

        wait_for("the entry is back", repaired)
        wait_for("the controller is connected", lambda: LAB.status()["switches"][0]["connected"])
        self.assertEqual(LAB.answered(3), 3)


if __name__ == "__main__":
    unittest.main()
